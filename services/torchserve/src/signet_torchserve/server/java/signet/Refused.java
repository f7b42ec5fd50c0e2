package signet;

import io.netty.handler.codec.http.HttpResponseStatus;

/** A request that is refused before a worker sees it: what it is answered, and the header that goes with it, if any. */
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
