/* An ALSA PCM hook: the PCM it belongs to takes one client, as hardware without mixing does. A second open gets EBUSY.

   pcm_hook_type.exclusive { lib "/path/exclusive.so" install "exclusive_install" }
   pcm.NAME { type hooks slave.pcm "OTHER" hooks.0 { type exclusive hook_args { path "/path/lock" } } } */

#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/file.h>
#include <unistd.h>

static int closed(snd_pcm_hook_t *hook)
{
	return close((int)(intptr_t)snd_pcm_hook_get_private(hook));
}

int exclusive_install(snd_pcm_t *pcm, snd_config_t *arguments)
{
	snd_config_t *entry;
	snd_pcm_hook_t *hook;
	const char *path;
	int descriptor, error;

	if (snd_config_search(arguments, "path", &entry) < 0 || snd_config_get_string(entry, &path) < 0)
		return -EINVAL;
	descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (descriptor < 0)
		return -errno;
	if (flock(descriptor, LOCK_EX | LOCK_NB) < 0) {
		close(descriptor);
		return -EBUSY;
	}
	error = snd_pcm_hook_add(&hook, pcm, SND_PCM_HOOK_TYPE_CLOSE, closed, (void *)(intptr_t)descriptor);
	if (error < 0)
		close(descriptor);
	return error;
}

SND_DLSYM_BUILD_VERSION(exclusive_install, SND_PCM_DLSYM_VERSION);
