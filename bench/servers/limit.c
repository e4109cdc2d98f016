/* What a server would do at the least: one readiness loop that answers each request with the
 * same bytes, and looks no further than at its last four.
 *
 *     limit PORT
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char RESPONSE[] =
    "HTTP/1.1 200 OK\r\n"
    "Date: Sun, 01 Nov 2026 12:00:00 GMT\r\n"
    "Server: limit\r\n"
    "Content-Type: text/plain\r\n"
    "Content-Length: 14\r\n"
    "\r\n"
    "Hello, world!\n";

static int listen_at(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 1024)) {
        perror("limit");
        exit(1);
    }
    return listener;
}

static void watch(int poller, int descriptor)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};

    epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event);
}

static void welcome(int poller, int listener)
{
    int on = 1, client = accept(listener, NULL, NULL);

    if (client >= 0) {
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        watch(poller, client);
    }
}

static void answer(int client)
{
    static char request[65536];
    ssize_t size = recv(client, request, sizeof(request), MSG_DONTWAIT);

    if (size <= 0)
        close(client);
    else if (size >= 4 && memcmp(request + size - 4, "\r\n\r\n", 4) == 0)
        if (send(client, RESPONSE, sizeof(RESPONSE) - 1, MSG_NOSIGNAL) < 0)
            close(client);
}

int main(int count, char **arguments)
{
    struct epoll_event ready[64];
    int poller = epoll_create1(0), listener, i, found;

    if (count != 2)
        return 2;
    listener = listen_at(atoi(arguments[1]));
    watch(poller, listener);
    for (;;) {
        found = epoll_wait(poller, ready, 64, -1);
        for (i = 0; i < found; i++) {
            if (ready[i].data.fd == listener)
                welcome(poller, listener);
            else
                answer(ready[i].data.fd);
        }
    }
}
