package signet;

import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.DecoderException;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.FullHttpRequest;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaderValues;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.util.CharsetUtil;
import java.nio.charset.IllegalCharsetNameException;
import java.nio.charset.UnsupportedCharsetException;
import java.util.Arrays;
import org.pytorch.serve.http.ErrorResponse;
import org.pytorch.serve.http.ServiceUnavailableException;
import org.pytorch.serve.util.JsonUtils;
import org.pytorch.serve.util.NettyUtils;

/**
 * Answers requests with errors in place of TorchServe's NettyUtils (patches.py puts it there).
 *
 * <p>An error that will pass has words of its own, and Retry-After. The answer to a request that no worker gets says what
 * is wrong with the request. If a request has ended its first worker, the gateway is told that it may ask again. All else
 * is answered as TorchServe does.
 *
 * <p>The classes beside these files are made by scripts/frontend.sh.
 */
public final class Errors {
    private static final String RETRY_AFTER_S = "1";
    private static final String QUEUE_IS_FULL = "Deque full"; // says java.util.concurrent.LinkedBlockingDeque
    private static final String WORKER_DIED = "Worker died."; // says TorchServe's WorkerThread
    private static final String FORMS = "io.netty.handler.codec.http.multipart."; // the package that reads forms
    static final String UNREADABLE_FORM = "UnreadableForm";
    private static final int MAX_TEXT = 500;
    // A 500 that lets the gateway ask again. Its client hears 500, as gateway/haproxy.cfg puts that in place of the 502.
    private static final HttpResponseStatus FIRST_DEATH = new HttpResponseStatus(502, "Internal Server Error");

    private Errors() {}

    public static void sendError(ChannelHandlerContext context, HttpResponseStatus status, Throwable cause) {
        boolean isTimeout = status.equals(HttpResponseStatus.GATEWAY_TIMEOUT);
        boolean isOverload = status.equals(HttpResponseStatus.TOO_MANY_REQUESTS);
        if (isOverload && QUEUE_IS_FULL.equals(cause.getMessage())) {
            sendPassing(context, status, "Overloaded", "The deployment is overloaded: its queue is full. Ask again later.");
        } else if (cause instanceof Refused) {
            Refused refused = (Refused) cause;
            send(context, refused.status, refused.type, refused.getMessage(), refused.header, refused.value);
        } else if (isOfForm(cause)) {
            String message = "The form cannot be read: " + wrongForm(cause) + ".";
            send(context, HttpResponseStatus.BAD_REQUEST, UNREADABLE_FORM, message, null, null);
        } else if (WORKER_DIED.equals(cause.getMessage()) && !isTimeout) { // a death, of which TorchServe's own status may be 507
            sendDeath(context, cause);
        } else if (isOverload) { // the patch "overload" makes a 429 of every IllegalStateException: this one is no full queue
            NettyUtils.sendError(context, HttpResponseStatus.INTERNAL_SERVER_ERROR, cause);
        } else if (cause instanceof ServiceUnavailableException) {
            sendPassing(context, status, "NotServedYet", "The deployment is not served yet: no worker has its model.");
        } else if (isTimeout) {
            String message = "The model did not answer within the deployment's serving.timeout_s.";
            send(context, status, "TimedOut", message, null, null);
        } else {
            NettyUtils.sendError(context, status, cause);
        }
    }

    public static void requestReceived(Channel channel, HttpRequest request) {
        NettyUtils.requestReceived(channel, request);
        Deaths.keepNumber(channel, request);
        Requests.admit((FullHttpRequest) request);
    }

    public static void sendHttpResponse(ChannelHandlerContext context, HttpResponse response, boolean keepAlive) {
        NettyUtils.sendHttpResponse(context, response, keepAlive);
    }

    static FullHttpResponse response(HttpResponseStatus status, String type, String message) {
        String json = JsonUtils.GSON_PRETTY.toJson(new ErrorResponse(status.code(), type, message)) + "\n";
        FullHttpResponse response =
                new DefaultFullHttpResponse(
                        HttpVersion.HTTP_1_1, status, Unpooled.copiedBuffer(json, CharsetUtil.UTF_8), false);
        response.headers().set(HttpHeaderNames.CONTENT_TYPE, HttpHeaderValues.APPLICATION_JSON);
        return response;
    }

    /** A client's text, quoted and cut to what fits into a message. */
    static String shortened(String text) {
        return "'" + (text.length() > MAX_TEXT ? text.substring(0, MAX_TEXT - 1) + "…" : text) + "'";
    }

    private static void sendDeath(ChannelHandlerContext context, Throwable cause) {
        String type = cause.getClass().getSimpleName();
        FullHttpResponse response = response(HttpResponseStatus.INTERNAL_SERVER_ERROR, type, cause.getMessage());
        if (Deaths.noteFirstDeath(context.channel())) {
            response.setStatus(FIRST_DEATH);
        }
        NettyUtils.sendHttpResponse(context, response, true);
    }

    private static void sendPassing(ChannelHandlerContext context, HttpResponseStatus status, String type, String message) {
        send(context, status, type, message, HttpHeaderNames.RETRY_AFTER.toString(), RETRY_AFTER_S);
    }

    private static void send(
            ChannelHandlerContext context,
            HttpResponseStatus status,
            String type,
            String message,
            String header,
            String value) {
        FullHttpResponse response = response(status, type, message);
        if (header != null) {
            response.headers().set(header, value);
        }
        NettyUtils.sendHttpResponse(context, response, true);
    }

    private static boolean isOfForm(Throwable cause) {
        return cause instanceof DecoderException
                || Arrays.stream(cause.getStackTrace()).anyMatch(frame -> frame.getClassName().startsWith(FORMS));
    }

    private static String wrongForm(Throwable cause) {
        Throwable root = cause;
        while (root.getCause() != null) {
            root = root.getCause();
        }
        if (root instanceof UnsupportedCharsetException || root instanceof IllegalCharsetNameException) {
            return "there is no charset " + shortened(root.getMessage());
        }
        if (root instanceof NullPointerException) {
            return "a part has no name";
        }
        if (root instanceof IndexOutOfBoundsException || root.getMessage() == null) {
            return "its boundary or the header of a part is malformed";
        }
        String said = root.getMessage();
        return said.length() > MAX_TEXT ? said.substring(0, MAX_TEXT - 1) + "…" : said;
    }
}
