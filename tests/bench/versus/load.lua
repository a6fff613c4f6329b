-- One client of one server, for wrk: wrk -s load.lua URL -- server workload keys bytes prefix first seed [file]
-- A request is one concatenation, so that what is measured is the server: keys have a fixed length, and
-- everything around them is made once. "file" names the keys to use, one a line, in place of "keys" numbered ones.

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

-- A key is a prefix of three, six, … bytes and nine digits. Three bytes are four in base64, so that both forms
-- are the prefix and three pieces from a list of a thousand.
local encode = function(text) return text end
local pieces, prefixes = {}, {}

local function key(prefix, number)
  local start = prefixes[prefix]
  if not start then
    start = encode(prefix .. string.rep(".", -#prefix % 3))
    prefixes[prefix] = start
  end
  local low, middle = number % 1000, math.floor(number / 1000) % 1000
  return start .. pieces[math.floor(number / 1000000)] .. pieces[middle] .. pieces[low]
end

local MARK = "THEKEY"

-- Return a function from a key to a whole request. "length" is the key's, which the body's length depends on.
local function template(length, method, path, headers, body)
  local filler = string.rep("k", length)
  local whole = wrk.format(method, (path:gsub(MARK, filler)), headers, body and (body:gsub(MARK, filler)))
  local from, to = whole:find(filler, 1, true)
  local head, tail = whole:sub(1, from - 1), whole:sub(to + 1)
  return function(text) return head .. text .. tail end
end

local JSON = { ["Content-Type"] = "application/json" }
local servers = {}

function servers.kvnode(length, value)
  return {
    put = template(length, "PUT", "/kv/" .. MARK, JSON, '{"value": "' .. value .. '"}'),
    get = template(length, "GET", "/kv/" .. MARK),
    delete = template(length, "DELETE", "/kv/" .. MARK),
  }
end

function servers.etcd(length, value)
  local named = '{"key": "' .. MARK .. '"'
  return {
    put = template(length, "POST", "/v3/kv/put", JSON, named .. ', "value": "' .. base64('"' .. value .. '"') .. '"}'),
    get = template(length, "POST", "/v3/kv/range", JSON, named .. "}"),
    delete = template(length, "POST", "/v3/kv/deleterange", JSON, named .. "}"),
  }
end

function servers.webdis(length, value)
  return {
    put = template(length, "PUT", "/SET/" .. MARK, {}, '"' .. value .. '"'),
    get = template(length, "GET", "/GET/" .. MARK),
    delete = template(length, "GET", "/DEL/" .. MARK),
  }
end

local ask, workload, keys, prefix, count, named

local function known()
  if named then return named[math.random(#named)] end
  return key("bench.", math.random(0, keys - 1))
end

local function numbered(start)
  count = count + 1
  return key(start, math.max(0, count - 1))
end

local workloads = {
  fill = function() return ask.put(numbered("bench.")) end,
  put = function() return ask.put(known()) end,
  new = function() return ask.put(numbered(prefix)) end,
  delete = function() return ask.delete(numbered(prefix)) end,
  get = function() return ask.get(known()) end,
  mix = function() return math.random() < 0.9 and ask.get(known()) or ask.put(known()) end,
  steady = function() return math.random() < 0.5 and ask.get(known()) or ask.put(known()) end,
}

function init(args)
  local server = args[1]
  workload, keys, prefix = workloads[args[2]], tonumber(args[3]), args[5]
  count = tonumber(args[6]) - 1 -- wrk asks for one request just to look at it
  math.randomseed(tonumber(args[7]))
  if server == "etcd" then encode = base64 end
  for i = 0, 999 do pieces[i] = encode(string.format("%03d", i)) end
  local own = (args[2] == "new" or args[2] == "delete") and prefix or "bench."
  ask = servers[server](#key(own, 0), string.rep("x", tonumber(args[4]) - 2))
  if args[2] == "steady" then delay = function() return math.random(30, 50) end end -- ms between requests
  if args[8] then
    named = {}
    for line in io.lines(args[8]) do named[#named + 1] = encode(line) end
  end
end

function request() return workload() end

-- One JSON object: what was answered, and how often each latency was seen. wrk looks for each of them from the
-- start, which takes longer than many a load itself: the processor time is that until now.
function done(summary, latency)
  local cpu, counts = os.clock(), {}
  for i = 1, #latency do
    local micros, times = latency(i)
    counts[#counts + 1] = string.format("[%d,%d]", micros, times)
  end
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"cpu_s":%.3f,"micros":%d,"requests":%d,"refused":%d,"broken":%d,"latencies":[%s]}\n',
    cpu, summary.duration, summary.requests, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, table.concat(counts, ",")))
end
