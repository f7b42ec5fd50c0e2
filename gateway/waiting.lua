-- Requests that find no replica ready wait for one. HAProxy itself would answer them with a 503 at once.
local WAIT_S = 20 -- in which a replica that has died is back
local PAUSE_MS = 100

local function replica_ready()
    return core.backends.replicas:get_srv_act() > 0 -- the server `wait_for_replica` is none of them: it is a backup
end

core.register_fetches("replica_ready", replica_ready)

core.register_action("wait_for_replica", { "http-req" }, function()
    local deadline = core.now().sec + WAIT_S
    while not replica_ready() and core.now().sec < deadline do
        core.msleep(PAUSE_MS)
    end
end)
