-- Follows the files that `signet token` and `signet certificate` write: tokens and certificate in HAProxy's memory become what they say.
-- HAProxy neither restarts nor reloads, so no connection is lost. Also tells Prometheus what became of each token's requests.
local TOKENS = "/run/door/tokens.map"
local CERTIFICATE = "/run/door/certificate.pem"
local PAUSE_MS = 1000
local MOST_NAMES = 1000 -- in the metrics

local function content(path)
    local file = io.open(path, "r")
    if file == nil then return nil end
    local text = file:read("a")
    file:close()
    return text
end

-- What each digest stands for, and whether one of the tokens has not expired.
local function tokens(text)
    local found, is_one_valid = {}, false
    for digest, value in (text or ""):gmatch("(%x+) ([^\n]+)\n") do
        found[digest] = value
        local expires = tonumber(value:match("^%S+ %S+ (%d+)"))
        is_one_valid = is_one_valid or expires == 0 or expires > os.time()
    end
    return found, is_one_valid
end

-- Refuses to start: HAProxy ends where this file raises an error.
local held, is_one_valid = tokens(content(TOKENS))
if not is_one_valid then
    error("The door stays shut: there is no valid token. Expected one; `signet token create NAME` makes it.")
end
local certificate = content(CERTIFICATE)
if certificate == nil then
    error("The door stays shut: there is no certificate in " .. CERTIFICATE .. ". Expected one; `signet certificate make` makes it.")
end

local function follow_tokens()
    local text = content(TOKENS)
    if text == nil then return end -- a volume that is away revokes nothing
    local wanted = tokens(text)
    for digest, value in pairs(wanted) do
        if held[digest] ~= value then core.set_map(TOKENS, digest, value) end
    end
    for digest in pairs(held) do
        if wanted[digest] == nil then core.del_map(TOKENS, digest) end
    end
    held = wanted
end

local function follow_certificate()
    local text = content(CERTIFICATE)
    if text == nil or text == certificate then return end
    certificate = text -- noted before it is set: an unusable one is complained of once
    -- The field that holds certificates and key has no name; the documentation's, `crt`, is refused (cert_exts in HAProxy's ssl_ckch.c).
    CertCache.set({ filename = CERTIFICATE, [""] = text })
    core.Info("The door has the new certificate.")
end

core.register_task(function()
    while true do
        for _, follow in ipairs({ follow_tokens, follow_certificate }) do
            local is_done, problem = pcall(follow)
            if not is_done then core.Warning("The door goes on with what it had: " .. tostring(problem)) end
        end
        core.msleep(PAUSE_MS)
    end
end)

-- Prometheus -----------------------------------------------------------------------------------------------------------------------------
-- Name, help, table, field of its entries. The keys of `door_refusals` have the status, too.
local COUNTERS = {
    { "signet_door_requests_total", "Requests with this token.", "door_names", "http_req_cnt" },
    { "signet_door_rows_total", "Rows that were predicted for it.", "door_names", "gpc" },
    { "signet_door_refusals_total", "Requests that the door refused; - has no known token.", "door_refusals", "http_req_cnt" },
}

core.register_service("door_metrics", "http", function(applet)
    local lines = {}
    for _, counter in ipairs(COUNTERS) do
        local metric, help, table_name, field = table.unpack(counter)
        lines[#lines + 1] = ("# HELP %s %s\n# TYPE %s counter\n"):format(metric, help, metric)
        local count = 0
        for key, entry in pairs(core.backends[table_name].stktable:dump()) do
            count = count + 1
            if count > MOST_NAMES then break end
            local token, status = key:match("^(%S+) ?(%d*)")
            local labels = status == "" and ("token=%q"):format(token) or ("token=%q,status=%q"):format(token, status)
            lines[#lines + 1] = ("%s{%s} %d\n"):format(metric, labels, entry[field])
        end
    end
    local body = table.concat(lines)
    applet:set_status(200)
    applet:add_header("content-type", "text/plain; version=0.0.4")
    applet:add_header("content-length", tostring(#body))
    applet:start_response()
    applet:send(body)
end)
