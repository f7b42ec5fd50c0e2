package signet;

import io.netty.channel.Channel;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.util.AttributeKey;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * Requests whose worker on this replica died with them, by the number that the gateway gave each. The gateway asks again
 * after the first death. Another replica knows nothing of it: there the gateway's count of tries is the limit.
 */
final class Deaths {
    private static final String NUMBER = "x-signet-request"; // in gateway/haproxy.cfg, too
    private static final AttributeKey<String> ASKED = AttributeKey.valueOf("signet-request");
    private static final int MAX_REMEMBERED = 1000;
    private static final Set<String> DEAD =
            Collections.newSetFromMap(
                    Collections.synchronizedMap(
                            new LinkedHashMap<String, Boolean>() {
                                private static final long serialVersionUID = 1L;

                                @Override
                                protected boolean removeEldestEntry(Map.Entry<String, Boolean> eldest) {
                                    return size() > MAX_REMEMBERED;
                                }
                            }));

    private Deaths() {}

    /** Takes a request's number off it: the connection keeps the number, and no worker gets it. */
    static void keepNumber(Channel channel, HttpRequest request) {
        String number = request.headers().get(NUMBER);
        channel.attr(ASKED).set(number);
        if (number != null) {
            request.headers().remove(NUMBER);
        }
    }

    /**
     * Remembers that a worker has died with this request. True if the gateway can ask again: it has numbered the request,
     * and this is the first death.
     */
    static boolean noteFirstDeath(Channel channel) {
        String number = channel.attr(ASKED).get();
        return number != null && DEAD.add(number);
    }
}
