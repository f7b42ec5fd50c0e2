package signet;

import io.netty.handler.codec.http.HttpResponseStatus;

/** Refuses a request before a worker gets it: with this answer, and this header, if there is one. */
final class Refused extends IllegalArgumentException {
    private static final long serialVersionUID = 1L;

    final transient HttpResponseStatus status;
    final String type;
    final String header;
    final String value;

    Refused(HttpResponseStatus status, String type, String message, String header, String value) {
        super(message);
        this.status = status;
        this.type = type;
        this.header = header;
        this.value = value;
    }
}
