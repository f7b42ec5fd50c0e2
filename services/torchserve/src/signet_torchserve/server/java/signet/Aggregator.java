package signet;

import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelPipeline;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpMessage;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.util.ReferenceCountUtil;

/**
 * Stands in for Netty's HttpObjectAggregator, which collects a request's body, so that a body that is too large gets an
 * answer that says so.
 *
 * <p>The rest of such a body is read and dropped: a connection that is closed while its client sends may lose the answer.
 */
public final class Aggregator extends HttpObjectAggregator {
    public Aggregator(int maxContentLength) {
        super(maxContentLength);
    }

    @Override
    protected Object newContinueResponse(HttpMessage start, int maxContentLength, ChannelPipeline pipeline) {
        Object response = super.newContinueResponse(start, maxContentLength, pipeline);
        if (response instanceof FullHttpResponse
                && ((FullHttpResponse) response).status().equals(HttpResponseStatus.REQUEST_ENTITY_TOO_LARGE)) {
            ReferenceCountUtil.release(response);
            return tooLarge();
        }
        return response;
    }

    @Override
    protected void handleOversizedMessage(ChannelHandlerContext context, HttpMessage oversized) {
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
