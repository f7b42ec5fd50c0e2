package signet;

import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelPipeline;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpMessage;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.handler.codec.http.LastHttpContent;
import io.netty.util.ReferenceCountUtil;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/**
 * Collects a request's body in place of Netty's HttpObjectAggregator, and says so if the body is too large or comes too
 * slowly.
 *
 * <p>The rest of a body that is too large is read and dropped: if the connection were closed while its client sends, the
 * answer might be lost. After a body that comes too slowly the connection is closed: such a request takes one of the few
 * places that the gateway has for large ones.
 */
public final class Aggregator extends HttpObjectAggregator {
    private static final int LOOK_S = 10;
    private static final int MIN_BYTES = 65536; // in LOOK_S

    private boolean isIncomplete;
    private boolean isTooLarge;
    private long cameBytes; // since the last look
    private Future<?> looks;

    public Aggregator(int maxContentLength) {
        super(maxContentLength);
    }

    @Override
    public void channelRead(ChannelHandlerContext context, Object message) throws Exception {
        if (message instanceof HttpMessage) {
            isTooLarge = false;
            cameBytes = 0;
        }
        if (message instanceof HttpContent) {
            cameBytes += ((HttpContent) message).content().readableBytes();
        }
        isIncomplete = !(message instanceof LastHttpContent);
        super.channelRead(context, message);
    }

    @Override
    public void channelReadComplete(ChannelHandlerContext context) throws Exception {
        if (isIncomplete && looks == null) { // most bodies come at once, and need no look
            looks = context.executor().scheduleAtFixedRate(() -> look(context), LOOK_S, LOOK_S, TimeUnit.SECONDS);
        } else if (!isIncomplete) {
            stopLooking();
        }
        super.channelReadComplete(context);
    }

    @Override
    public void handlerRemoved(ChannelHandlerContext context) throws Exception {
        stopLooking();
        super.handlerRemoved(context);
    }

    private void stopLooking() {
        if (looks != null) {
            looks.cancel(false);
            looks = null;
        }
    }

    private void look(ChannelHandlerContext context) {
        if (cameBytes >= MIN_BYTES) {
            cameBytes = 0;
            return;
        }
        stopLooking();
        if (isTooLarge) {
            context.close();
            return;
        }
        FullHttpResponse response =
                Errors.response(
                        HttpResponseStatus.REQUEST_TIMEOUT,
                        "RequestTooSlow",
                        "The body comes too slowly: "
                                + cameBytes
                                + " bytes within "
                                + LOOK_S
                                + " s, and at least "
                                + MIN_BYTES
                                + " are expected.");
        HttpUtil.setContentLength(response, response.content().readableBytes());
        HttpUtil.setKeepAlive(response, false);
        context.writeAndFlush(response).addListener(ChannelFutureListener.CLOSE);
    }

    @Override
    protected Object newContinueResponse(HttpMessage start, int maxContentLength, ChannelPipeline pipeline) {
        Object response = super.newContinueResponse(start, maxContentLength, pipeline);
        if (response instanceof FullHttpResponse
                && ((FullHttpResponse) response).status().equals(HttpResponseStatus.REQUEST_ENTITY_TOO_LARGE)) {
            ReferenceCountUtil.release(response);
            isIncomplete = false; // its body does not come
            return tooLarge();
        }
        return response;
    }

    @Override
    protected void handleOversizedMessage(ChannelHandlerContext context, HttpMessage oversized) {
        isTooLarge = true;
        ChannelFuture sent = context.writeAndFlush(tooLarge());
        if (!HttpUtil.isKeepAlive(oversized)) {
            sent.addListener(ChannelFutureListener.CLOSE);
        }
    }

    private FullHttpResponse tooLarge() {
        FullHttpResponse response =
                Errors.response(
                        HttpResponseStatus.REQUEST_ENTITY_TOO_LARGE,
                        "RequestTooLarge",
                        "The body has more than "
                                + maxContentLength()
                                + " bytes, the most that a request may have (max_request_size in config.properties).");
        HttpUtil.setContentLength(response, response.content().readableBytes());
        return response;
    }
}
