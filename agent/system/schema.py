"""The tables of the state file, in the order they came.

Migrations only add, so that a version that was rolled back opens a newer file as it is. Append a step; never change one. A column
that is added has a default, and every statement names the columns it means.
"""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE settings (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL            -- JSON
    ) WITHOUT ROWID;

    CREATE TABLE tokens (
        link TEXT PRIMARY KEY,
        value TEXT NOT NULL            -- JSON
    ) WITHOUT ROWID;

    CREATE TABLE playlists (           -- as last fetched
        link TEXT NOT NULL,
        side TEXT NOT NULL,
        place INTEGER NOT NULL,        -- order in the server's answer
        body TEXT NOT NULL,            -- JSON
        PRIMARY KEY (link, side, place)
    ) WITHOUT ROWID;

    CREATE TABLE media (               -- one row per verified file in the store
        digest TEXT PRIMARY KEY,       -- "md5:<hex>" or "sha256:<hex>"
        size_bytes INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        verified_at REAL NOT NULL,     -- wall clock
        used_at REAL NOT NULL,         -- wall clock, for eviction
        name TEXT NOT NULL             -- as the server called it; for people only
    ) WITHOUT ROWID;

    CREATE TABLE sources (             -- what an address without a checksum gave
        url TEXT PRIMARY KEY,
        size_bytes INTEGER,            -- as announced by the server, if it was
        digest TEXT NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE conversion_jobs (     -- jobs of conversion servers that count, and what became of them
        link TEXT NOT NULL,
        server TEXT NOT NULL,          -- its address: a link that is given another server begins anew
        job TEXT NOT NULL,
        title TEXT NOT NULL,
        state TEXT NOT NULL,           -- followed, ready, played, ...: see agent.links.conversion.jobs
        size_bytes INTEGER,            -- of the output
        changed_at REAL NOT NULL,      -- wall clock; only orders the rows
        PRIMARY KEY (link, server, job)
    ) WITHOUT ROWID;
    """,
)
