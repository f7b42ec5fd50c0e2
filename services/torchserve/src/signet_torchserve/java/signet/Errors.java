package signet;

import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaderValues;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.util.CharsetUtil;
import org.pytorch.serve.http.ErrorResponse;
import org.pytorch.serve.http.ServiceUnavailableException;
import org.pytorch.serve.util.JsonUtils;
import org.pytorch.serve.util.NettyUtils;

/**
 * Stands in for TorchServe's NettyUtils where that answers a request with an error (frontend.py lets it).
 *
 * <p>An error that passes says so: in its own words, and with Retry-After. All others are answered as TorchServe does.
 *
 * <p>The class beside this file is made by scripts/frontend.sh.
 */
public final class Errors {
    private static final String RETRY_AFTER_S = "1";
    private static final String QUEUE_IS_FULL = "Deque full"; // says java.util.concurrent.LinkedBlockingDeque
    private static final String WORKER_DIED = "Worker died."; // says TorchServe's WorkerThread

    private Errors() {}

    public static void sendError(ChannelHandlerContext context, HttpResponseStatus status, Throwable cause) {
        boolean isTimeout = status.equals(HttpResponseStatus.GATEWAY_TIMEOUT);
        boolean isOverload = status.equals(HttpResponseStatus.TOO_MANY_REQUESTS);
        if (isOverload && QUEUE_IS_FULL.equals(cause.getMessage())) {
            send(context, status, "Overloaded", "The deployment is overloaded: its queue is full. Ask again later.", true);
        } else if (isOverload || WORKER_DIED.equals(cause.getMessage()) && !isTimeout) {
            // An exception that only looks like an overload; a worker that was killed, which TorchServe may call 507.
            NettyUtils.sendError(context, HttpResponseStatus.INTERNAL_SERVER_ERROR, cause);
        } else if (cause instanceof ServiceUnavailableException) {
            send(context, status, "NotServedYet", "The deployment is not served yet: no worker has its model.", true);
        } else if (isTimeout) {
            send(context, status, "TimedOut", "The model did not answer within the deployment's serving.timeout_s.", false);
        } else {
            NettyUtils.sendError(context, status, cause);
        }
    }

    public static void requestReceived(Channel channel, HttpRequest request) {
        NettyUtils.requestReceived(channel, request);
    }

    public static void sendHttpResponse(ChannelHandlerContext context, HttpResponse response, boolean keepAlive) {
        NettyUtils.sendHttpResponse(context, response, keepAlive);
    }

    private static void send(
            ChannelHandlerContext context, HttpResponseStatus status, String type, String message, boolean passes) {
        String json = JsonUtils.GSON_PRETTY.toJson(new ErrorResponse(status.code(), type, message)) + "\n";
        DefaultFullHttpResponse response =
                new DefaultFullHttpResponse(
                        HttpVersion.HTTP_1_1, status, Unpooled.copiedBuffer(json, CharsetUtil.UTF_8), false);
        response.headers().set(HttpHeaderNames.CONTENT_TYPE, HttpHeaderValues.APPLICATION_JSON);
        if (passes) {
            response.headers().set(HttpHeaderNames.RETRY_AFTER, RETRY_AFTER_S);
        }
        NettyUtils.sendHttpResponse(context, response, true);
    }
}
