"""What must happen atomically in Redis, as Lua; `workers.jobs.redis_link` passes the keys.

A shard of a job is in ``open`` until it is finished. Its ``lease`` is the time until which its
worker is trusted to be alive or, after a failure that may be temporary, the time of its next try;
``tries`` shows which, by whether the shard is held.
"""

from __future__ import annotations

_NOW = """local t = redis.call('TIME'); local now = t[1] + t[2] / 1e6
local function touch()
  redis.call('HSET', KEYS[1], 'updated', now)
  for i = 1, 6 do redis.call('EXPIRE', KEYS[i], ARGV[2]) end
end
"""

# Keys everywhere: job, open, lease, tries, begun, failed, running (the set of unfinished jobs).
_CLOSE = """
local function cancelling() return redis.call('HGET', KEYS[1], 'state') == 'cancelling' end

local function close(shard)
  redis.call('ZREM', KEYS[3], shard)
  redis.call('HDEL', KEYS[4], shard, shard .. ':failures', shard .. ':held')
  redis.call('HDEL', KEYS[5], shard)
  return redis.call('HDEL', KEYS[2], shard)
end

local function settle()
  if redis.call('HLEN', KEYS[2]) == 0 then
    local ended = nil
    if cancelling() then ended = 'cancelled'
    elseif redis.call('HEXISTS', KEYS[1], 'reason') == 1 then ended = 'failed'
    elseif redis.call('HGET', KEYS[1], 'planned') == '1' then ended = 'done' end
    if ended then
      redis.call('HSET', KEYS[1], 'state', ended, 'finished', now)
      redis.call('SREM', KEYS[7], ARGV[1])
    end
  end
  touch()
end

-- A cancelled job wants those shards only of which something may be stored already.
local function unwanted(shard)
  if not cancelling() or redis.call('HEXISTS', KEYS[5], shard) == 1 then return false end
  close(shard)
  settle()
  return true
end
"""

# A planner has a token. The first to ask becomes the planner of a job that has none, or whose
# planner's lease is over. The former planner, if it is still alive, finds the job taken.
_PLANNER = """
local function is_planner(token)
  return redis.call('HGET', KEYS[1], 'state') == 'planning'
    and redis.call('HGET', KEYS[1], 'planner') == token
end

local function lease_is_over()
  return tonumber(redis.call('HGET', KEYS[1], 'planner_until') or '0') <= now
end
"""

# job id, ttl, token, lease seconds: 1 if this planner has the job now.
PLAN = f"""{_NOW}{_PLANNER}
if redis.call('HGET', KEYS[1], 'state') ~= 'planning' then return 0 end
local planner = redis.call('HGET', KEYS[1], 'planner')
if planner ~= '' and planner ~= ARGV[3] and not lease_is_over() then return 0 end
redis.call('HSET', KEYS[1], 'planner', ARGV[3], 'planner_until', now + ARGV[4])
return 1
"""

# job id, ttl, token, lease seconds: 0 if the job is no longer this planner's.
PLANNING = f"""{_NOW}{_PLANNER}
if not is_planner(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], 'planner_until', now + ARGV[4])
return 1
"""

# job id, ttl, token: any planner may take the job at once.
LEAVE = f"""{_NOW}{_PLANNER}
if not is_planner(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], 'planner', '', 'planner_until', now)
return 1
"""

# job id, ttl, seconds: keep the job for a planner that is being started; 0 if it has a planner.
HAND_OVER = f"""{_NOW}{_PLANNER}
if redis.call('HGET', KEYS[1], 'state') ~= 'planning' or not lease_is_over() then return 0 end
redis.call('HSET', KEYS[1], 'planner', '', 'planner_until', now + ARGV[3])
return 1
"""

# keys: the running jobs, the workers that may plan; the name of one, after how many seconds of
# silence it is not counted on, the beginning of a job's key: jobs whose planner is lost.
ORPHANS = f"""{_NOW}
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2])
local orphans = {{}}
for _, job in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local facts = redis.call('HMGET', ARGV[3] .. job, 'state', 'planner_until')
  if facts[1] == 'planning' and tonumber(facts[2] or '0') <= now then
    table.insert(orphans, job)
  end
end
return orphans
"""

# job id, ttl, name, why, the key of the workers that may plan, seconds: this one cannot plan the
# job. If none can for that long, it ends as failed, once what was planned is done.
DECLINE = f"""{_NOW}{_CLOSE}{_PLANNER}
if redis.call('HGET', KEYS[1], 'state') ~= 'planning' or not lease_is_over() then return 0 end
redis.call('HSET', KEYS[1], 'declined:' .. ARGV[3], ARGV[4])
for _, name in ipairs(redis.call('ZRANGE', ARGV[5], 0, -1)) do
  if redis.call('HEXISTS', KEYS[1], 'declined:' .. name) == 0 then return 0 end
end
if now - redis.call('HGET', KEYS[1], 'planner_until') < tonumber(ARGV[6]) then return 0 end
redis.call('HSET', KEYS[1], 'reason', ARGV[4], 'state', 'running')
settle()
return 1
"""

# job id, ttl, token, why: no planner can continue.
FAIL = f"""{_NOW}{_CLOSE}{_PLANNER}
if not is_planner(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], 'reason', ARGV[4], 'state', 'running')
settle()
return 1
"""

# job id, ttl, shard, payload, files, token, cost class, the last file: 1 if the job still wants it
# from this planner. Repeating it changes nothing. The file is where the next planner continues.
ADD = f"""{_NOW}{_PLANNER}
if not is_planner(ARGV[6]) then return 0 end
if redis.call('HSETNX', KEYS[2], ARGV[3], ARGV[4]) == 1 then
  redis.call('HINCRBY', KEYS[1], 'files', ARGV[5])
end
redis.call('HSET', KEYS[1], 'cursor:' .. ARGV[7], ARGV[8])
touch()
return 1
"""

# job id, ttl, uri, why: a dead letter that was in no shard. Repeating it changes nothing.
REFUSE = f"""{_NOW}
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if redis.call('HSET', KEYS[6], ARGV[3], ARGV[4]) == 1 then
  redis.call('HINCRBY', KEYS[1], 'files', 1)
end
touch()
return 1
"""

# job id, ttl, token, shards (a JSON object): all others have been added, and these come last.
PLANNED = f"""{_NOW}{_CLOSE}{_PLANNER}
if not is_planner(ARGV[3]) then return 0 end
for shard, payload in pairs(cjson.decode(ARGV[4])) do
  redis.call('HSET', KEYS[2], shard, payload)
end
redis.call('HSET', KEYS[1], 'planned', 1, 'state', 'running')
settle()
return 1
"""

# job id, ttl, shard, lease seconds: payload, times taken and not given back, failures, whether it
# is taken over from a holder that fell silent; nothing if done, held or no longer wanted.
CLAIM = f"""{_NOW}{_CLOSE}
local payload = redis.call('HGET', KEYS[2], ARGV[3])
if not payload then return false end
local lease = redis.call('ZSCORE', KEYS[3], ARGV[3])
if lease and tonumber(lease) > now then return false end
if unwanted(ARGV[3]) then return false end
redis.call('ZADD', KEYS[3], now + ARGV[4], ARGV[3])
local taken_over = 1 - redis.call('HSET', KEYS[4], ARGV[3] .. ':held', 1)
local failures = redis.call('HGET', KEYS[4], ARGV[3] .. ':failures') or '0'
return {{payload, redis.call('HINCRBY', KEYS[4], ARGV[3], 1), failures, taken_over}}
"""

# job id, ttl, shard, lease seconds: 0 if the shard is no longer open, or its job is cancelled.
BEAT = f"""{_NOW}{_CLOSE}
if redis.call('HEXISTS', KEYS[2], ARGV[3]) == 0 then return 0 end
redis.call('ZADD', KEYS[3], now + ARGV[4], ARGV[3])
return cancelling() and 0 or 1
"""

# job id, ttl, shard, wait seconds, whether forgiven, why: try again after the wait.
RELEASE = f"""{_NOW}{_CLOSE}
if redis.call('HEXISTS', KEYS[2], ARGV[3]) == 0 then return 0 end
if unwanted(ARGV[3]) then return 1 end
redis.call('ZADD', KEYS[3], now + ARGV[4], ARGV[3])
redis.call('HDEL', KEYS[4], ARGV[3] .. ':held')
redis.call('HINCRBY', KEYS[4], ARGV[3], -1)
if ARGV[5] == '0' then redis.call('HINCRBY', KEYS[4], ARGV[3] .. ':failures', 1) end
if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'waits_for', ARGV[6]) end
return 1
"""

# job id, ttl, shard, counts, failures, parts (each a JSON object): only the first call counts.
FINISH = f"""{_NOW}{_CLOSE}
if close(ARGV[3]) == 0 then return 0 end
redis.call('HDEL', KEYS[1], 'waits_for')
for name, value in pairs(cjson.decode(ARGV[4])) do
  redis.call('HINCRBYFLOAT', KEYS[1], name, value)
end
for uri, why in pairs(cjson.decode(ARGV[5])) do redis.call('HSET', KEYS[6], uri, why) end
local parts = cancelling() and {{}} or cjson.decode(ARGV[6])
for part, payload in pairs(parts) do redis.call('HSET', KEYS[2], part, payload) end
settle()
return 1
"""

# job id, ttl, shard: shards whose time is over, and whether they were held; each is given to one
# caller only.
DUE = f"""{_NOW}
local due = {{}}
for place, shard in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now)) do
  redis.call('ZREM', KEYS[3], shard)
  due[place] = {{shard, redis.call('HEXISTS', KEYS[4], shard .. ':held')}}
end
return due
"""

# job id, ttl: drop what has not begun; what has is finished and counted. 0 if the job had ended.
CANCEL = f"""{_NOW}{_CLOSE}
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'done' or state == 'cancelled' or state == 'failed' then return 0 end
redis.call('HSET', KEYS[1], 'state', 'cancelling')
for _, shard in ipairs(redis.call('HKEYS', KEYS[2])) do
  local held = redis.call('HEXISTS', KEYS[4], shard .. ':held') == 1
  if not held and redis.call('HEXISTS', KEYS[5], shard) == 0 then close(shard) end
end
settle()
return 1
"""

# job id, ttl, shard, payload, uris (JSON list): turn dead letters into a shard again.
REVIVE = f"""{_NOW}
for _, uri in ipairs(cjson.decode(ARGV[5])) do redis.call('HDEL', KEYS[6], uri) end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'done' or state == 'failed' then
  redis.call('HSET', KEYS[1], 'state', 'running')
  redis.call('HDEL', KEYS[1], 'finished')
end
redis.call('SADD', KEYS[7], ARGV[1])
touch()
return 1
"""

# keys: one per lock; token, milliseconds, and 1 to keep those that are free: else all or none.
LOCK = """
local free, taken = {}, 0
for _, key in ipairs(KEYS) do
  local holder = redis.call('GET', key)
  if holder and holder ~= ARGV[1] then taken = taken + 1 else table.insert(free, key) end
end
if taken > 0 and ARGV[3] == '0' then return 0 end
for _, key in ipairs(free) do redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end
return taken == 0 and 1 or 0
"""

UNLOCK = """
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
end
return 1
"""
