-- One client of one server, for wrk: wrk -s load.lua URL -- server workload keys bytes fresh number
-- Requests carry no state beside a counter and a seeded random number, so that every server is asked the same.

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
  local out = {}
  for i = 1, #text, 3 do
    local a, b, c = text:byte(i, i + 2)
    local n = a * 65536 + (b or 0) * 256 + (c or 0)
    local digits = { math.floor(n / 262144) % 64, math.floor(n / 4096) % 64, math.floor(n / 64) % 64, n % 64 }
    local kept = c and 4 or b and 3 or 2
    for j = 1, 4 do
      out[#out + 1] = j <= kept and alphabet:sub(digits[j] + 1, digits[j] + 1) or "="
    end
  end
  return table.concat(out)
end

local servers = {}

function servers.kvnode(value)
  local body = '{"value": "' .. value .. '"}'
  local headers = { ["Content-Type"] = "application/json" }
  return {
    put = function(key) return wrk.format("PUT", "/kv/" .. key, headers, body) end,
    get = function(key) return wrk.format("GET", "/kv/" .. key) end,
    delete = function(key) return wrk.format("DELETE", "/kv/" .. key) end,
  }
end

function servers.etcd(value)
  local tail = '", "value": "' .. base64('"' .. value .. '"') .. '"}'
  local headers = { ["Content-Type"] = "application/json" }
  local function post(path, body) return wrk.format("POST", path, headers, body) end
  return {
    put = function(key) return post("/v3/kv/put", '{"key": "' .. base64(key) .. tail) end,
    get = function(key) return post("/v3/kv/range", '{"key": "' .. base64(key) .. '"}') end,
    delete = function(key) return post("/v3/kv/deleterange", '{"key": "' .. base64(key) .. '"}') end,
  }
end

function servers.webdis(value)
  local body = '"' .. value .. '"'
  return {
    put = function(key) return wrk.format("PUT", "/SET/" .. key, {}, body) end,
    get = function(key) return wrk.format("GET", "/GET/" .. key) end,
    delete = function(key) return wrk.format("GET", "/DEL/" .. key) end,
  }
end

local ask, workload, keys, fresh, count

function init(args)
  workload, keys, fresh, count = args[2], tonumber(args[3]), args[5], 0
  local bytes, number = tonumber(args[4]), tonumber(args[6])
  math.randomseed(number)
  ask = servers[args[1]](string.rep("x", bytes - 2))
  if workload == "fill" then count = tonumber(fresh) end
end

local function known() return string.format("bench.%07d", math.random(0, keys - 1)) end

local function numbered(prefix)
  count = count + 1
  return string.format("%s.%07d", prefix, count - 1)
end

local workloads = {
  fill = function() return ask.put(numbered("bench")) end, -- from number "fresh" on
  put = function() return ask.put(known()) end,
  new = function() return ask.put(numbered(fresh)) end,
  delete = function() return ask.delete(numbered(fresh)) end,
  get = function() return ask.get(known()) end,
  mix = function() return math.random() < 0.9 and ask.get(known()) or ask.put(known()) end,
}

function request() return workloads[workload]() end

-- One JSON object: what was answered, and how often each latency was seen.
function done(summary, latency)
  local counts = {}
  for i = 1, #latency do
    local micros, times = latency(i)
    counts[#counts + 1] = string.format("[%d,%d]", micros, times)
  end
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"micros":%d,"requests":%d,"refused":%d,"broken":%d,"latencies":[%s]}\n',
    summary.duration, summary.requests, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, table.concat(counts, ",")))
end
