"""Updates: bundles, version slots and the guard that goes back to the version from before."""
