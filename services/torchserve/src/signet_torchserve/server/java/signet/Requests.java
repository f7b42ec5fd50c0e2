package signet;

import io.netty.buffer.ByteBuf;
import io.netty.handler.codec.http.FullHttpRequest;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaderValues;
import io.netty.handler.codec.http.HttpMethod;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.multipart.HttpPostRequestDecoder;

/** Requests that TorchServe would read in another way than their clients meant them: they are refused, or mended. */
final class Requests {
    private static final String PREDICTIONS = "/predictions/";
    private static final String METHODS = "POST, PUT";

    private Requests() {}

    /**
     * Refuses a prediction in a method or an encoding that is not served, and mends the media type of JSON that curl's
     * -d sends as a form.
     */
    static void admit(FullHttpRequest request) {
        if (!request.uri().startsWith(PREDICTIONS)) {
            return;
        }
        HttpMethod method = request.method();
        // OPTIONS asks for TorchServe's description of the deployment.
        if (method != HttpMethod.POST && method != HttpMethod.PUT && method != HttpMethod.OPTIONS) {
            throw new Refused(
                    HttpResponseStatus.METHOD_NOT_ALLOWED,
                    "MethodNotAllowed",
                    "A prediction is asked for with " + METHODS + ": the method " + Errors.shortened(method.name()) + " is not served.",
                    "Allow",
                    METHODS);
        }
        String encoding = request.headers().get(HttpHeaderNames.CONTENT_ENCODING);
        if (encoding != null && !encoding.isBlank() && !HttpHeaderValues.IDENTITY.contentEqualsIgnoreCase(encoding.strip())) {
            throw new Refused(
                    HttpResponseStatus.UNSUPPORTED_MEDIA_TYPE,
                    "UnsupportedContentEncoding",
                    "The body has the Content-Encoding " + Errors.shortened(encoding) + ", which is not served: send it uncompressed.",
                    "Accept-Encoding",
                    "identity");
        }
        String media = request.headers().get(HttpHeaderNames.CONTENT_TYPE);
        if (media == null) {
            return;
        }
        if (isOf(media, "application/x-www-form-urlencoded") && isJson(request.content())) {
            request.headers().set(HttpHeaderNames.CONTENT_TYPE, HttpHeaderValues.APPLICATION_JSON);
        } else if (isOf(media, "multipart/") && !HttpPostRequestDecoder.isMultipart(request)) {
            throw new Refused(
                    HttpResponseStatus.BAD_REQUEST,
                    Errors.UNREADABLE_FORM,
                    "The form cannot be read: its Content-Type is " + Errors.shortened(media)
                            + ", and multipart/form-data with a boundary is expected.",
                    null,
                    null);
        }
    }

    private static boolean isOf(String media, String type) {
        return media.regionMatches(true, 0, type, 0, type.length());
    }

    /** Whether the body begins as JSON does: no form with a field `data` begins so. */
    private static boolean isJson(ByteBuf body) {
        int end = body.writerIndex();
        for (int at = body.readerIndex(); at < end; at++) {
            byte first = body.getByte(at);
            if (first != ' ' && first != '\t' && first != '\r' && first != '\n') {
                return first == '{' || first == '[';
            }
        }
        return false;
    }
}
