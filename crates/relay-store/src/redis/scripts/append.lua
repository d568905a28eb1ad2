-- append: stores events of one source with their deliveries, each whole or not at all. Their values were set just before, in the
-- same transaction, so that bodies do not pass through here.
-- KEYS: counters, dead letters, and what is written. ARGV: source, number of events; for each: id, its key or nothing, when
-- it was received, the key's entry, for how long that is kept (ms), an entry that was found there and what it is in truth (nothing: none
-- that holds), highest sequence, latest moment, place in the listing, number of deliveries; for each of those: id, row, place in the listing.
-- Gives for each: 's' stored; 'a', deliveries: it was there; 'q', an entry that is at odds with itself; 'r', entry, what stands in
-- front of the body of its event, names of later deliveries, deliveries: its key was taken, and its body is removed.
-- Always writes: what is there already counts as `again`, a repeat as a duplicate.
local source = next_argument()
-- Of the front of an event so much is given behind the ids in it: nearly always all of it.
local front_max = 4096
local function front_of(event)
    local count = part_of(key('e:', event), 33, 34)
    return part_of(key('e:', event), 0, front_max - 1 + (#count == 2 and 16 * struct.unpack('>I2', count) or 0))
end

local function next_event()
    local event = {
        id = next_argument(), key = next_argument(), received = tonumber(next_argument()), entry = next_argument(),
        kept = next_argument(), seen = next_argument(), mended = next_argument(), sequence = next_argument(),
        moment = next_argument(), place = next_argument(), rows = {},
    }
    for at = 1, tonumber(next_argument()) do
        event.rows[at] = { id = next_argument(), row = next_argument(), place = next_argument() }
        check_new(event.rows[at].row)
    end
    return event
end

-- Whether no row of these events is there, asked for once: nearly always.
local function are_all_new(events)
    local keys, found = {}, 0
    for _, event in ipairs(events) do
        for _, row in ipairs(event.rows) do
            keys[#keys + 1] = key('d:', row.id)
        end
    end
    of_many(keys, function(...) found = found + redis.call('EXISTS', ...) end)
    return found == 0
end

local function is_there(event, is_new)
    for _, row in ipairs(event.rows) do
        if is_new and rows[row.id] or not is_new and is_stored(row.id) then
            return true
        end
    end
    return #event.rows == 0
        and (redis.call('ZSCORE', key('lone', ''), event.id) or redis.call('EXISTS', key('r:', event.id)) == 1)
end

-- Whether an entry says in the open what stands in its sealed part, where its reader finds both little-endian.
local function says_the_same(taken, first, ending)
    return #taken >= 65 and string.reverse(sub(taken, 34, 49)) == first
        and struct.unpack('<i8', taken, 58) == ending
end

-- What is to be answered because of its key; nothing: that is free. Whether an entry holds, its reader finds out, and asks again with what
-- he found.
local function of_key(event)
    local at = key('k:', source, ':' .. event.key)
    local found = part_of(at, 0, -1)
    local is_seen = found ~= '' and found == event.seen
    local taken = is_seen and event.mended or found
    if taken == '' then
        return nil
    elseif taken ~= found then
        redis.call('SET', at, taken, 'KEEPTTL')
    end
    local first, ending = sub(taken, 1, 16), tonumber(sub(taken, 17, 32)) or 0
    if ending > event.received then
        if first == event.id then
            -- What it was stored with is removed by now, and what was made of it later is not.
            count('again', 1)
            return { 'a', family(event.id) }
        elseif redis.call('EXISTS', key('e:', first)) == 1 then
            redis.call('UNLINK', key('e:', event.id))
            count_source(source, 'duplicates', 1)
            return { 'r', taken, front_of(first), replays_of(first), family(first) }
        end
    end
    if is_seen or says_the_same(taken, first, ending) then
        return nil
    end
    count('again', 1)
    return { 'q', found }
end

local listing = key('src:', source)
local stored = { 's' }
local function append(event, is_new)
    if is_there(event, is_new) then
        count('again', 1)
        return { 'a', family(event.id) }
    end
    local answer = event.key ~= '' and of_key(event)
    if answer then
        return answer
    end
    local listed = add(listing, event.place, 'i', event.id)
    if listed ~= event.place then
        redis.call('SETRANGE', key('e:', event.id), 0, pad(listed))
    end
    recount_event(listed, source, 1)
    for _, made in ipairs(event.rows) do
        local destination = names_of(made.row)
        create(made.id, made.row, made.place, destination, source)
    end
    if #event.rows == 0 then
        redis.call('ZADD', key('lone', ''), minted(event.id), event.id)
    end
    if event.key ~= '' then
        redis.call('SET', key('k:', source, ':' .. event.key), event.entry, 'PX', event.kept)
    end
    count_source(source, 'accepted', 1)
    count_source(source, 'stored', 1)
    holds_id(event.sequence)
    saw(event.moment)
    return stored
end

must_be('hash', counters)
must_be('stream', listing)
must_be('zset', key('lone', ''))
local events, answers = all_of(next_event), {}
local is_new = are_all_new(events)
do_all(function()
    for at, event in ipairs(events) do
        answers[at] = append(event, is_new)
    end
end)
tell()
return answers
