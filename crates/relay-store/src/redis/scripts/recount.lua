-- recount: counts what is stored in a tally, a piece at a time, in the order of listings. Whatever is written meanwhile and stands where it
-- has passed moves the tally as it moves the counters; so at the end both speak of the same moment.
-- ARGV: run, what to do: `begin`, with the run that was seen to stand still there, or none; `next` and a listing (`d:` or `s:` and a name); `end`; `mend`, with latest moment and highest sequence of
-- what is stored: the same, and counters become what was counted. Of those that only they know a delivery that is not there is lost, and an
-- event that is not there was removed; one that does not read is what the others leave, else none.
-- Gives for `next` 1 if there is more of it, else 0; for `end` and `mend` listings that were not counted, or the counters (as they were)
-- and the tally; nothing if another run has begun since, or the tally is spoilt: it is begun anew. Always writes.

-- A number that HINCRBY takes.
local function is_count(text) return text == '0' or (#text < 16 and match(text, '^%-?[1-9]%d*$') ~= nil) end

local run, what, of = ARGV[1], ARGV[2], ARGV[3]
local piece = 64
must_be('hash', counters)

local function finish(answer)
    count('again', 1)
    tell()
    return answer
end

if what == 'begin' then
    local stands = redis.pcall('HGET', tally, 'run')
    if type(stands) == 'string' and stands ~= of then
        return finish(false)
    end
    redis.call('DEL', tally)
    redis.call('HSET', tally, 'run', run)
    return finish(1)
end
must_be('hash', tally)
if redis.call('HGET', tally, 'run') ~= run then
    return finish(false)
end

-- A counter, and whether it is one. What is not there is none yet.
local function kept_number(field)
    local text = redis.call('HGET', counters, field) or '0'
    return is_count(text) and tonumber(text) or 0, is_count(text)
end
local function set(field, number) redis.call('HSET', counters, field, string.format('%.0f', number)) end

-- Of created, removed and lost one that does not read is what the others leave; where all read, what is not there is lost.
local function mend_destination(name)
    local of, present = 'd:' .. name, 0
    for state = 1, 7 do
        local there = tonumber(redis.call('HGET', tally, of .. ':' .. state) or 0)
        set(of .. ':' .. state, there)
        present = present + there
    end
    local retired, reads_retired = kept_number(of .. ':retired')
    local created, reads_created = kept_number(of .. ':created')
    local lost = kept_number(of .. ':lost')
    if not reads_created then
        created = present + retired + lost
    elseif not reads_retired then
        retired = math.max(created - present - lost, 0)
    end
    set(of .. ':retired', retired)
    set(of .. ':created', math.max(created, present + retired))
    set(of .. ':lost', math.max(created - present - retired, 0))
end

local function mend_source(name)
    local of = 's:' .. name
    local there = tonumber(redis.call('HGET', tally, of) or 0)
    local retired, reads_retired = kept_number(of .. ':retired')
    local accepted, reads_accepted = kept_number(of .. ':accepted')
    accepted = reads_accepted and accepted or there + retired
    retired = reads_retired and retired or math.max(accepted - there, 0)
    set(of .. ':stored', there)
    set(of .. ':accepted', math.max(accepted, there + retired))
    set(of .. ':retired', math.max(retired, accepted - there))
end

-- What counts nothing that is stored, and does not read, begins anew.
local function mend_others(kept)
    for at = 1, #kept, 2 do
        local field, text = kept[at], kept[at + 1]
        local begins = match(field, '^%l+')
        local is_spoilt = begins == 'spoilt' or (begins == 'cursor' and not is_name(text)) or (begins == 'last' and not (#text == 16 and match(text, '^%d+$')))
            or (field == 'latest' and not once(text, 16)) or (field == 'floor' and not once(text, 20))
        if is_spoilt then
            redis.call('HDEL', counters, field)
        elseif (begins == 'd' or begins == 's' or field == 'again') and not is_count(text) then
            set(field, 0)
        end
    end
end

local function mend_counters(counted)
    for at = 1, #counted, 2 do
        local kind, name = match(counted[at], '^done:([ds]):(.+)$')
        if kind == 'd' then
            mend_destination(name)
        elseif kind == 's' then
            mend_source(name)
        end
    end
    mend_others(redis.call('HGETALL', counters))
    -- Their reader found them sealed, in the newest rows.
    saw(ARGV[3])
    holds_id(ARGV[4])
    redis.call('HSET', counters, 'begun', 1)
end

-- Whether a tally can be reckoned with.
local function is_whole_tally(counted)
    for at = 1, #counted, 2 do
        if match(counted[at], '^[ds]:') and not is_count(counted[at + 1]) then
            return false
        end
    end
    return true
end

-- Whether it is a name of a source or of a destination: what others put among the counters is not counted.
local function is_called(name) return #name <= 63 and match(name, '^[a-z0-9][a-z0-9_-]*$') end

if what == 'end' or what == 'mend' then
    local kept, missing = redis.call('HGETALL', counters), {}
    for at = 1, #kept, 2 do
        local listing = match(kept[at], '^(d:[^:]+):created$') or match(kept[at], '^(s:[^:]+):accepted$')
        if listing and is_called(sub(listing, 3)) and redis.call('HEXISTS', tally, 'done:' .. listing) == 0 then
            missing[#missing + 1] = listing
        end
    end
    if #missing > 0 then
        return finish({ missing })
    end
    local counted = redis.call('HGETALL', tally)
    if not is_whole_tally(counted) then
        redis.call('DEL', tally)
        return finish(false)
    end
    if what == 'mend' then
        mend_counters(counted)
    end
    redis.call('DEL', tally)
    return finish({ {}, kept, counted })
end

-- Whoever waits for it sees by this that it gets on.
redis.call('HINCRBY', tally, 'steps', 1)
-- Behind the place where it stands.
local at = redis.call('HMGET', tally, 'of', 'ms', 'number')
local ms, number = 0, 0
if at[1] == of then
    ms, number = tonumber(at[2]), tonumber(at[3])
    if not ms or not number then
        redis.call('DEL', tally)
        return finish(false)
    end
end
local function is_behind(one_ms, one_number) return one_ms > ms or (one_ms == ms and one_number > number) end

local name = sub(of, 3)
local is_source = sub(of, 1, 1) == 's'
local found, horizons = {}, {}
local function find(id, listed, one_ms, one_number)
    found[#found + 1] = { id = id, listed = listed, ms = one_ms, number = one_number }
end
local function horizon() horizons[#horizons + 1] = found[#found] end

local stream = is_source and key('src:', name) or key('log:', name)
must_be('stream', stream)
if not is_source then
    must_be('zset', key('made:', name))
end
local from = string.format('(%.0f-%.0f', ms, number)
local entries = redis.call('XRANGE', stream, from, '+', 'COUNT', piece)
for _, entry in ipairs(entries) do
    find(entry[2][2], entry[1], parts_of(entry[1]))
end
if #entries == piece then
    horizon()
end
if not is_source then
    local skip, taken = 0, 0
    repeat
        local ids = redis.call('ZRANGEBYSCORE', key('made:', name), ms, '+inf', 'LIMIT', skip, piece)
        for _, id in ipairs(ids) do
            if taken < piece and #id == 16 and is_behind(minted(id), number_of(id)) then
                find(id, '', minted(id), number_of(id))
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
            local listed = unpad(part_of(key('e:', one.id), 0, 32))
            if listed == one.listed or not parts_of(listed) then
                recount(of, redis.call('EXISTS', key('e:', one.id)))
            end
        else
            local row = load(one.id)
            if row and is_whole(row) and listed_at(row) == one.listed then
                recount(of .. ':' .. state_of(row), 1)
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
