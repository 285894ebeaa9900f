-- Checks the host name while access is open, else passes on the token's subject. Runs after `access`. README.md has the
-- rules.
--
-- Environment, comma-separated and empty by default:
--   GATEWAY_HOSTS    names by which the gateway may be reached while access is open, without ports
--   GATEWAY_SERVICE  the name of its own Service, set by compose (`gateway`) and Kubernetes (`gateway.<namespace>`)
-- Request headers it sets: `x-evenkeel-subject`, the token's `sub` (clients cannot send it).
-- It answers 421 by itself to any other name. The owner of a page may have pointed such a name at this machine (DNS
-- rebinding). listeners.yaml makes a problem document of it (local_reply_config).

local hosts = {localhost = true, ["[::1]"] = true}
for value in (os.getenv("GATEWAY_HOSTS") or ""):gmatch("[^,]+") do
  local host = value:match("^%s*(.-)%s*$"):lower()
  if host ~= "" then
    if not (host:match("^[a-z0-9._-]+$") or host:match("^%[[0-9a-f:.]+%]$")) then
      error("GATEWAY_HOSTS has " .. host .. ", which is no name of a host")
    end
    hosts[host] = true
  end
end
local service = os.getenv("GATEWAY_SERVICE") or ""
if service ~= "" then
  hosts[service] = true
  local name, namespace = service:match("^([^.]+)%.([^.]+)$")
  if name ~= nil then
    hosts[name] = true
    hosts[service .. ".svc"] = true
    hosts[service .. ".svc.cluster.local"] = true
  end
end

local function known(authority)
  local host = authority:lower():gsub(":%d*$", ""):gsub("%.$", "")
  return hosts[host] or host:match("^127%.%d+%.%d+%.%d+$") ~= nil or host:match("%.localhost$") ~= nil
end

-- Visible ASCII stays, everything else is percent-encoded, also the percent sign. So two subjects never become equal.
local function encoded(subject)
  return (subject:gsub("[^!-$&-~]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

function envoy_on_request(handle)
  local headers = handle:headers()
  if headers:get("x-evenkeel-public") ~= nil then
    return
  end
  local metadata = handle:streamInfo():dynamicMetadata()
  local open = metadata:get("evenkeel.access")
  if open ~= nil and open.open then
    if not known(headers:get(":authority") or "") then
      handle:respond({[":status"] = "421"})
    end
    return
  end
  local token = metadata:get("envoy.filters.http.jwt_authn")
  local subject = token ~= nil and token.payload ~= nil and token.payload.sub
  if type(subject) == "string" and subject ~= "" then
    headers:replace("x-evenkeel-subject", encoded(subject))
  end
end
