# Connections as the system has them: descriptors, and calls that do not wait.

from cpython.object cimport PyObject

cdef extern from *:
    """
    #if defined(__linux__)
    #include <arpa/inet.h>
    #include <errno.h>
    #include <fcntl.h>
    #include <netinet/in.h>
    #include <sys/socket.h>
    #include <unistd.h>

    /* Accept a connection over IPv4; -1 where none is waiting, or anything is odd. */
    static inline int accept_client(int listener, PyObject **address) {
        struct sockaddr_in peer;
        socklen_t size = sizeof(peer);
        char host[INET_ADDRSTRLEN];
        PyObject *made;
        int descriptor, flags = fcntl(listener, F_GETFL);
        /* Another process that has the socket too may have made it wait. */
        if (flags < 0 || !(flags & O_NONBLOCK)) return -1;
        descriptor = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC);
        if (descriptor < 0) return -1;
        inet_ntop(AF_INET, &peer.sin_addr, host, sizeof(host));
        made = Py_BuildValue("(si)", host, (int)ntohs(peer.sin_port));
        if (made == NULL) { PyErr_Clear(); close(descriptor); return -1; }
        *address = made;
        return descriptor;
    }

    static inline Py_ssize_t receive_at_once(int descriptor, char *buffer, Py_ssize_t size) {
        return recv(descriptor, buffer, (size_t)size, MSG_DONTWAIT);
    }

    static inline Py_ssize_t send_at_once(int descriptor, const char *data, Py_ssize_t size) {
        return send(descriptor, data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    }

    static inline int would_wait(void) {
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    }

    /* Where no other process can have the connection, to close it ends it. */
    static inline void close_descriptor(int descriptor, int is_shared) {
        if (is_shared) shutdown(descriptor, SHUT_WR);
        close(descriptor);
    }
    #define ACCEPTS_DESCRIPTORS 1
    #else
    static inline int accept_client(int listener, PyObject **address) { return -1; }
    static inline Py_ssize_t receive_at_once(int d, char *buffer, Py_ssize_t size) { return -1; }
    static inline Py_ssize_t send_at_once(int d, const char *data, Py_ssize_t size) { return -1; }
    static inline int would_wait(void) { return 1; }
    static inline void close_descriptor(int descriptor, int is_shared) {}
    #define ACCEPTS_DESCRIPTORS 0
    #endif

    static inline PyObject *fail(void) { return PyErr_SetFromErrno(PyExc_OSError); }
    """
    bint ACCEPTS_DESCRIPTORS
    int accept_client(int, PyObject **)
    Py_ssize_t receive_at_once(int, char *, Py_ssize_t)
    Py_ssize_t send_at_once(int, const char *, Py_ssize_t)
    bint would_wait()
    void close_descriptor(int, bint)
    object fail()
