/* A provider that costs nearly nothing: HTTP/1.1 on one thread with epoll, answers made beforehand.
 *
 *     mock PORT FOLDER
 *
 * The request's body names its answer: "bench:json;" is FOLDER/json.http, sent as it is, and so for
 * any other name; "bench:paced,COUNT,MILLISECONDS;" is FOLDER/paced.head, then COUNT times
 * FOLDER/paced.event with the time of sending (the last digits of the monotonic clock's
 * microseconds) written over its run of zeros, then FOLDER/paced.tail; "bench:invoice;" is what was
 * served so far. Prints "ready PORT" when it listens; PORT 0 takes a free one.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DIGITS 9 /* microseconds of a clock, the last digits: few, as a token is short */
#define ROUND 1000000000LL
#define MOST_FILES 16
static const char ZEROS[] = "000000000";

struct bytes {
    char *at;
    size_t length;
};

struct answer {
    char name[32];
    struct bytes bytes;
    long served;
};

struct connection {
    int fd;
    int closed;         /* freed after the events of this round were looked at */
    char *in;           /* what came and is not answered yet */
    size_t in_length, in_size;
    char *out;          /* what the socket did not take yet */
    size_t out_length;
    int left;           /* events of a paced answer that are to come, -1: none is under way */
    int64_t interval, due; /* nanoseconds */
    struct connection *next, *previous; /* among those with a paced answer */
};

static struct answer answers[MOST_FILES];
static int answer_count;
static struct bytes head, event, tail;
static long paced_served;
static size_t stamp_offset; /* where in the event its time is written */
static struct connection *paced;
static int poller;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static struct bytes read_file(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        die(path);
    fseek(file, 0, SEEK_END);
    struct bytes found = {NULL, (size_t)ftell(file)};
    rewind(file);
    found.at = malloc(found.length + 1);
    if (!found.at || fread(found.at, 1, found.length, file) != found.length)
        die(path);
    found.at[found.length] = 0;
    fclose(file);
    return found;
}

static struct answer *answer_named(const char *folder, const char *name)
{
    for (int i = 0; i < answer_count; i++)
        if (!strcmp(answers[i].name, name))
            return &answers[i];
    if (answer_count == MOST_FILES) {
        fprintf(stderr, "too many kinds of answers\n");
        exit(1);
    }
    struct answer *new = &answers[answer_count++];
    snprintf(new->name, sizeof new->name, "%s", name);
    char file[64];
    snprintf(file, sizeof file, "%s.http", name);
    new->bytes = read_file(folder, file);
    return new;
}

static void watch(struct connection *c, uint32_t events, int operation)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, operation, c->fd, &e))
        die("epoll_ctl");
}

static void stop_pacing(struct connection *c)
{
    if (c->left < 0)
        return;
    c->left = -1;
    if (c->previous)
        c->previous->next = c->next;
    else
        paced = c->next;
    if (c->next)
        c->next->previous = c->previous;
    c->next = c->previous = NULL;
}

static void hang_up(struct connection *c)
{
    if (c->closed)
        return;
    stop_pacing(c);
    close(c->fd);
    c->closed = 1;
}

/* Sends what the socket takes, and keeps the rest until it takes more. */
static void put(struct connection *c, const char *at, size_t length)
{
    if (c->closed)
        return;
    if (!c->out_length) {
        ssize_t sent = send(c->fd, at, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            hang_up(c);
            return;
        }
        if (sent > 0) {
            at += sent;
            length -= (size_t)sent;
        }
        if (!length)
            return;
        watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    }
    c->out = realloc(c->out, c->out_length + length);
    memcpy(c->out + c->out_length, at, length);
    c->out_length += length;
}

static void flush(struct connection *c)
{
    ssize_t sent = send(c->fd, c->out, c->out_length, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            hang_up(c);
        return;
    }
    c->out_length -= (size_t)sent;
    memmove(c->out, c->out + sent, c->out_length);
    if (!c->out_length)
        watch(c, EPOLLIN, EPOLL_CTL_MOD);
}

static void begin_pacing(struct connection *c, int count, int milliseconds)
{
    put(c, head.at, head.length);
    c->left = count;
    c->interval = milliseconds * 1000000LL;
    c->due = now() + c->interval;
    c->previous = NULL;
    c->next = paced;
    if (paced)
        paced->previous = c;
    paced = c;
}

/* The length of the body that follows the head, or -1 while a chunked one is not complete. */
static ssize_t body_length(const char *request, size_t head_length, size_t have)
{
    const char *found = strcasestr(request, "\r\ncontent-length:");
    if (found && found < request + head_length)
        return atol(found + 17);
    found = strcasestr(request, "\r\ntransfer-encoding:");
    if (!found || found >= request + head_length)
        return 0;
    const char *body = request + head_length;
    const char *end = memmem(body, have - head_length, "0\r\n\r\n", 5);
    return end ? end + 5 - body : -1;
}

/* How often each answer was given, as JSON. */
static void put_invoice(struct connection *c)
{
    char body[MOST_FILES * 64 + 64], whole[sizeof body + 128];
    int length = snprintf(body, sizeof body, "{\"paced\":%ld", paced_served);
    for (int i = 0; i < answer_count; i++)
        length += snprintf(body + length, sizeof body - (size_t)length, ",\"%s\":%ld",
                           answers[i].name, answers[i].served);
    length += snprintf(body + length, sizeof body - (size_t)length, "}");
    int size = snprintf(whole, sizeof whole,
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                        "content-length: %d\r\n\r\n%s", length, body);
    put(c, whole, (size_t)size);
}

static void answer(struct connection *c, const char *folder, const char *body, size_t length)
{
    char name[32] = "json";
    int count = 0, milliseconds = 0;
    const char *marker = memmem(body, length, "bench:", 6);
    if (marker && sscanf(marker, "bench:paced,%d,%d;", &count, &milliseconds) == 2) {
        paced_served++;
        begin_pacing(c, count, milliseconds);
        return;
    }
    if (marker)
        sscanf(marker, "bench:%31[a-z0-9];", name);
    if (!strcmp(name, "invoice")) {
        put_invoice(c);
        return;
    }
    struct answer *found = answer_named(folder, name);
    found->served++;
    put(c, found->bytes.at, found->bytes.length);
}

/* Answers the requests that are complete, one after the other. */
static void look(struct connection *c, const char *folder)
{
    while (!c->closed && c->left < 0 && c->in_length) {
        c->in[c->in_length] = 0;
        char *end = memmem(c->in, c->in_length, "\r\n\r\n", 4);
        if (!end)
            return;
        size_t head_length = (size_t)(end + 4 - c->in);
        ssize_t length = body_length(c->in, head_length, c->in_length);
        if (length < 0 || c->in_length < head_length + (size_t)length)
            return;
        answer(c, folder, c->in + head_length, (size_t)length);
        c->in_length -= head_length + (size_t)length;
        memmove(c->in, c->in + head_length + length, c->in_length);
    }
}

static void receive(struct connection *c, const char *folder)
{
    for (;;) {
        if (c->in_length + 1 >= c->in_size) {
            c->in_size = c->in_size ? c->in_size * 2 : 8192;
            c->in = realloc(c->in, c->in_size);
        }
        size_t room = c->in_size - c->in_length - 1;
        ssize_t got = recv(c->fd, c->in + c->in_length, room, 0);
        if (got > 0) {
            c->in_length += (size_t)got;
            if ((size_t)got == room)
                continue;
            break;
        }
        if (got == 0 || errno != EAGAIN) {
            hang_up(c);
            return;
        }
        break;
    }
    look(c, folder);
}

static void welcome(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
        if (fd < 0)
            return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *c = calloc(1, sizeof *c);
        c->fd = fd;
        c->left = -1;
        watch(c, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static void release(struct connection *c)
{
    free(c->in);
    free(c->out);
    free(c);
}

static void pace(const char *folder)
{
    int64_t time = now();
    for (struct connection *c = paced, *next; c; c = next) {
        next = c->next;
        if (c->due > time)
            continue;
        if (c->left > 0) {
            char stamp[DIGITS + 1];
            snprintf(stamp, sizeof stamp, "%0*lld", DIGITS, (long long)(now() / 1000 % ROUND));
            memcpy(event.at + stamp_offset, stamp, DIGITS);
            c->left--;
            c->due += c->interval;
            put(c, event.at, event.length);
        } else {
            stop_pacing(c);
            put(c, tail.at, tail.length);
            look(c, folder);
        }
        if (c->closed)
            release(c);
    }
}

static int listen_on(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
        die("listen");
    socklen_t length = sizeof address;
    getsockname(fd, (struct sockaddr *)&address, &length);
    printf("ready %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int count, char **arguments)
{
    if (count != 3) {
        fprintf(stderr, "usage: mock PORT FOLDER\n");
        return 2;
    }
    const char *folder = arguments[2];
    head = read_file(folder, "paced.head");
    event = read_file(folder, "paced.event");
    tail = read_file(folder, "paced.tail");
    char *stamp = memmem(event.at, event.length, ZEROS, DIGITS);
    if (!stamp) {
        fprintf(stderr, "paced.event has no place for its time\n");
        return 1;
    }
    stamp_offset = (size_t)(stamp - event.at);
    int listener = listen_on(atoi(arguments[1]));
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event listening = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &listening);
    for (;;) {
        int got = epoll_wait(poller, events, 256, paced ? 1 : -1);
        for (int i = 0; i < got; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) {
                welcome(listener);
                continue;
            }
            if (events[i].events & EPOLLOUT && c->out_length)
                flush(c);
            if (!c->closed && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                receive(c, folder);
            if (c->closed)
                release(c); /* closed by its own event: no other of this round names it */
        }
        if (paced)
            pace(folder);
    }
}
