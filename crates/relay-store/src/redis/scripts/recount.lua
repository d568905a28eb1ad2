-- recount: counts what is stored in a tally, a piece at a time, in the order of listings. Whatever is written meanwhile and stands where it
-- has passed moves the tally as it moves the counters; so at the end both speak of the same moment.
-- ARGV: run, what to do: `begin`; `next` and a listing (`d:` or `s:` and a name); `end`.
-- Gives for `next` 1 if there is more of it, else 0; for `end` listings that were not counted, or the counters and the tally; nothing
-- if another run has begun since. Always writes.
local run, what, of = ARGV[1], ARGV[2], ARGV[3]
local piece = 64

local function finish(answer)
    count('again', 1)
    tell()
    return answer
end

if what == 'begin' then
    redis.call('DEL', tally)
    redis.call('HSET', tally, 'run', run)
    return finish(1)
end
if redis.call('HGET', tally, 'run') ~= run then
    return finish(false)
end

if what == 'end' then
    local kept, missing = redis.call('HGETALL', counters), {}
    for at = 1, #kept, 2 do
        local listing = string.match(kept[at], '^(d:[^:]+):created$') or string.match(kept[at], '^(s:[^:]+):accepted$')
        if listing and redis.call('HEXISTS', tally, 'done:' .. listing) == 0 then
            missing[#missing + 1] = listing
        end
    end
    if #missing > 0 then
        return finish({ missing })
    end
    local counted = redis.call('HGETALL', tally)
    redis.call('DEL', tally)
    return finish({ {}, kept, counted })
end

-- Behind the place where it stands.
local at = redis.call('HMGET', tally, 'of', 'ms', 'number')
local ms, number = 0, 0
if at[1] == of then
    ms, number = tonumber(at[2]), tonumber(at[3])
end
local function is_behind(one_ms, one_number) return one_ms > ms or (one_ms == ms and one_number > number) end

local name = string.sub(of, 3)
local is_source = string.sub(of, 1, 1) == 's'
local found, horizons = {}, {}
local function find(id, one_ms, one_number) found[#found + 1] = { id = id, ms = one_ms, number = one_number } end
local function horizon() horizons[#horizons + 1] = found[#found] end

local stream = is_source and key('src:', name) or key('log:', name)
local from = string.format('(%.0f-%.0f', ms, number)
local entries = redis.call('XRANGE', stream, from, '+', 'COUNT', piece)
for _, entry in ipairs(entries) do
    find(entry[2][2], parts_of(entry[1]))
end
if #entries == piece then
    horizon()
end
if not is_source then
    local skip, taken = 0, 0
    repeat
        local ids = redis.call('ZRANGEBYSCORE', key('made:', name), ms, '+inf', 'LIMIT', skip, piece)
        for _, id in ipairs(ids) do
            if taken < piece and is_behind(minted(id), number_of(id)) then
                find(id, minted(id), number_of(id))
                taken = taken + 1
            end
        end
        skip = skip + #ids
    until taken == piece or #ids < piece
    if taken == piece then
        horizon()
    end
end

-- Behind the last of a listing that has more nothing is known.
local last
for _, one in ipairs(horizons) do
    if not last or one.ms < last.ms or (one.ms == last.ms and one.number < last.number) then
        last = one
    end
end
for _, one in ipairs(found) do
    if not last or one.ms < last.ms or (one.ms == last.ms and one.number <= last.number) then
        if is_source then
            redis.call('HINCRBY', tally, of, redis.call('EXISTS', key('e:', one.id)))
        else
            local row = load(one.id)
            if row then
                redis.call('HINCRBY', tally, of .. ':' .. state_of(row), 1)
            end
        end
    end
end
if last then
    redis.call('HSET', tally, 'of', of, 'ms', string.format('%.0f', last.ms), 'number', string.format('%.0f', last.number))
    return finish(1)
end
redis.call('HSET', tally, 'done:' .. of, 1, 'of', '')
return finish(0)
