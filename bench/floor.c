// The floors the benchmarks are read against: servers that do nothing but read and answer.
//
//   floor oneshot SOCKET FILE            one request a connection: read it, write FILE's bytes, close
//   floor pingpong SOCKET IN OUT         for each IN bytes read, write OUT bytes, until the peer hangs up; one connection at a time
//
// Prints a line when it listens, and serves until it is killed.

#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void fail(const char *what) {
	perror(what);
	exit(1);
}

static int listening(const char *path) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof address.sun_path) {
		fprintf(stderr, "%s: too long\n", path);
		exit(1);
	}
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) fail("socket");
	unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
	if (listen(fd, 1024) < 0) fail("listen");
	puts("listening");
	fflush(stdout);
	return fd;
}

static int write_all(int fd, const char *bytes, size_t length) {
	while (length > 0) {
		ssize_t count = send(fd, bytes, length, MSG_NOSIGNAL);
		if (count < 0 && errno == EINTR) continue;
		if (count <= 0) return -1;
		bytes += count;
		length -= (size_t)count;
	}
	return 0;
}

static char buffer[1 << 20];

static void oneshot(int server, const char *file) {
	FILE *stream = fopen(file, "rb");
	if (!stream) fail(file);
	static char reply[1 << 20];
	size_t length = fread(reply, 1, sizeof reply, stream);
	fclose(stream);
	for (;;) {
		int fd = accept4(server, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED) continue;
			fail("accept");
		}
		if (read(fd, buffer, sizeof buffer) > 0) write_all(fd, reply, length);
		close(fd);
	}
}

static void pingpong(int server, size_t in, size_t out) {
	if (in == 0 || in > sizeof buffer || out > sizeof buffer) {
		fprintf(stderr, "pingpong: sizes out of range\n");
		exit(1);
	}
	for (;;) {
		int fd = accept4(server, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED) continue;
			fail("accept");
		}
		for (;;) {
			size_t have = 0;
			while (have < in) {
				ssize_t count = read(fd, buffer + have, in - have);
				if (count < 0 && errno == EINTR) continue;
				if (count <= 0) goto gone;
				have += (size_t)count;
			}
			if (write_all(fd, buffer, out) < 0) break;
		}
	gone:
		close(fd);
	}
}

int main(int argc, char **argv) {
	if (argc == 4 && strcmp(argv[1], "oneshot") == 0) {
		oneshot(listening(argv[2]), argv[3]);
	} else if (argc == 5 && strcmp(argv[1], "pingpong") == 0) {
		pingpong(listening(argv[2]), strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
	}
	fprintf(stderr, "usage: floor oneshot SOCKET FILE | floor pingpong SOCKET IN OUT\n");
	return 2;
}
