-- Decides which web pages may send requests, before tokens and routes are considered. README.md has the rules.
--
-- Environment, comma-separated and empty by default:
--   GATEWAY_CORS_ORIGINS   origins whose pages may read and write, such as https://app.example.com
--   GATEWAY_PUBLIC_PREFIX  badges of counters whose names begin with this are public, for every page
-- Request headers it sets: `x-evenkeel-public` on a request for such a badge (clients cannot send it).
-- It answers by itself: 400 to several hosts, 403 to a page of another origin, 204 to the preflight of a permitted
-- page. listeners.yaml makes problem documents of the errors (local_reply_config).

local NAME = "^[A-Za-z0-9][A-Za-z0-9._:-]*$"

local METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
local REQUEST_HEADERS = "Authorization, Cache-Control, Content-Type, Idempotency-Key, If-Match, If-None-Match,"
  .. " Last-Event-ID, Min-Version, X-Request-Id"
local RESPONSE_HEADERS = "ETag, Location, Link, X-Request-Id, X-Served-By, Cache-Status, Idempotency-Replayed, Retry-After"

local function listed(setting, pattern)
  local values = {}
  for value in (os.getenv(setting) or ""):gmatch("[^,]+") do
    value = value:match("^%s*(.-)%s*$")
    if value ~= "" then
      if not value:match(pattern) then
        error(setting .. " has " .. value .. ", which is none")
      end
      values[#values + 1] = value
    end
  end
  return values
end

local origins = {}
for _, origin in ipairs(listed("GATEWAY_CORS_ORIGINS", "^[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9.:%[%]_-]+$")) do
  origins[origin:lower()] = true
end
local prefixes = listed("GATEWAY_PUBLIC_PREFIX", NAME)

local function public_badge(method, path)
  if #prefixes == 0 or not (method == "GET" or method == "HEAD") then
    return false
  end
  local name = path:match("^/v1/counters/([^/?]+)/badge%.svg$") or path:match("^/v1/counters/([^/?]+)/badge%.svg%?")
  if name == nil then
    return false
  end
  -- Decoded, as the service reads it. encodeURIComponent makes `public%3Adownloads` of `public:downloads`.
  name = name:gsub("%%(%x%x)", function(code) return string.char(tonumber(code, 16)) end)
  if not name:match(NAME) then
    return false
  end
  for _, prefix in ipairs(prefixes) do
    if name:sub(1, #prefix) == prefix then
      return true
    end
  end
  return false
end

-- Whether the origin has the same host as the request. The scheme is not compared, because a proxy in front may have
-- ended TLS. Sec-Fetch-Site covers the scheme.
local function own(origin, host)
  local scheme, authority = origin:match("^(https?)://([^/]+)$")
  host = host:lower()
  return authority ~= nil and (host == authority or host == authority .. (scheme == "http" and ":80" or ":443"))
end

-- A click on a link, or an address that was typed in. The browser shows the page, and no other page can read it.
local function link(headers, method, path)
  path = path:match("^[^?]*")
  return method == "GET" and (path == "/docs" or path == "/") and headers:get("origin") == nil
    and headers:get("sec-fetch-mode") == "navigate" and headers:get("sec-fetch-dest") == "document"
end

local function foreign(headers, origin, host)
  local site = headers:get("sec-fetch-site")
  if site ~= nil and site ~= "same-origin" and site ~= "none" then
    return true
  end
  return origin ~= nil and not own(origin, host)
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local method, host = headers:get(":method"), headers:get(":authority") or ""
  -- A request has one Host (RFC 9110, 7.2). Envoy joins several by commas, which no host name has.
  if host:find(",", 1, true) then
    handle:respond({[":status"] = "400"})
    return
  end
  local path = headers:get(":path")
  if path == nil then -- CONNECT; the first route refuses it
    return
  end
  if public_badge(method, path) then
    headers:replace("x-evenkeel-public", "true")
    handle:clearRouteCache()
    return
  end
  local origin = headers:get("origin")
  origin = origin and origin:lower()
  if origin ~= nil and origins[origin] then
    if method == "OPTIONS" and headers:get("access-control-request-method") ~= nil then
      handle:respond({
        [":status"] = "204",
        ["access-control-allow-origin"] = origin,
        ["access-control-allow-methods"] = METHODS,
        ["access-control-allow-headers"] = REQUEST_HEADERS,
        ["access-control-max-age"] = "600",
        ["cache-control"] = "no-store",
        ["x-served-by"] = "gateway",
      })
    else
      handle:streamInfo():dynamicMetadata():set("evenkeel.browsers", "origin", origin)
    end
  elseif foreign(headers, origin, host) and not link(headers, method, path) then
    handle:respond({[":status"] = "403"})
  end
end

if next(origins) ~= nil then
  function envoy_on_response(handle)
    local headers = handle:headers()
    headers:add("vary", "Origin")
    local known = handle:streamInfo():dynamicMetadata():get("evenkeel.browsers")
    if known ~= nil and known.origin ~= nil then
      headers:replace("access-control-allow-origin", known.origin)
      headers:replace("access-control-expose-headers", RESPONSE_HEADERS)
    end
  end
end
