/*
 * Keeps the addon loadable wherever Node's own builds run: by glibc 2.28 and later.
 *
 * A linker binds each function to the newest version that the glibc of the building machine has of it, and an older glibc then refuses the whole
 * addon. Everything the addon calls is there in 2.28, only under another version or, for a few, not as a function. Here each of those is bound by
 * hand; all of it is hidden, so that nobody else's calls come this way. `scripts/elf.mjs` reads the versions of what was built, and nothing above the
 * floor is packed.
 *
 * Must never do more than pass a call on.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OURS __attribute__((visibility("hidden")))

/* The first version of the architecture's own glibc port. */
#if defined(__x86_64__)
#define FIRST "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define FIRST "GLIBC_2.17"
#else
#error "no version of glibc is named for this architecture"
#endif
#define OLD(name) __asm__(".symver old_" #name ", " #name "@" FIRST)

/* Of libdl and libpthread until 2.34 took both into libc, under a new version: the addon names the two libraries when it is linked. */
OLD(dladdr);
OLD(dlopen);
OLD(pthread_key_create);
OLD(pthread_key_delete);
OLD(pthread_setspecific);
extern int old_dladdr(const void *, Dl_info *);
extern void *old_dlopen(const char *, int);
extern int old_pthread_key_create(pthread_key_t *, void (*)(void *));
extern int old_pthread_key_delete(pthread_key_t);
extern int old_pthread_setspecific(pthread_key_t, const void *);

OURS int dladdr(const void *address, Dl_info *info) { return old_dladdr(address, info); }
OURS void *dlopen(const char *file, int mode) { return old_dlopen(file, mode); }
OURS int pthread_key_create(pthread_key_t *key, void (*destructor)(void *)) { return old_pthread_key_create(key, destructor); }
OURS int pthread_key_delete(pthread_key_t key) { return old_pthread_key_delete(key); }
OURS int pthread_setspecific(pthread_key_t key, const void *value) { return old_pthread_setspecific(key, value); }

/*
 * Functions since 2.33, inline calls of other names before. On 64-bit machines glibc's `struct stat` is the kernel's, and `struct stat64` is the same
 * (stat(3type)).
 */
OURS int fstat(int fd, struct stat *to) { return (int)syscall(SYS_fstat, fd, to); }
OURS int stat(const char *restrict path, struct stat *restrict to) { return (int)syscall(SYS_newfstatat, AT_FDCWD, path, to, 0); }
OURS int lstat(const char *restrict path, struct stat *restrict to) { return (int)syscall(SYS_newfstatat, AT_FDCWD, path, to, AT_SYMLINK_NOFOLLOW); }
OURS int fstatat(int dir, const char *restrict path, struct stat *restrict to, int flags) { return (int)syscall(SYS_newfstatat, dir, path, to, flags); }
OURS int fstatat64(int dir, const char *restrict path, struct stat64 *restrict to, int flags) { return (int)syscall(SYS_newfstatat, dir, path, to, flags); }
OURS int fstat64(int fd, struct stat64 *to) { return (int)syscall(SYS_fstat, fd, to); }
OURS int stat64(const char *restrict path, struct stat64 *restrict to) { return (int)syscall(SYS_newfstatat, AT_FDCWD, path, to, 0); }
OURS int lstat64(const char *restrict path, struct stat64 *restrict to) { return (int)syscall(SYS_newfstatat, AT_FDCWD, path, to, AT_SYMLINK_NOFOLLOW); }

/* Since 2.30. */
OURS pid_t gettid(void) { return (pid_t)syscall(SYS_gettid); }
