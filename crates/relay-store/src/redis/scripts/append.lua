-- append: stores events of one source with their deliveries, each whole or not at all. Their values were set just before, in the
-- same transaction, so that bodies do not pass through here.
-- KEYS: counters, dead letters, and what is written. ARGV: source, number of events; for each: id, its key or nothing, when
-- it was received, the key's entry, for how long that is kept (ms), highest sequence, latest moment, place in the
-- listing, number of deliveries; for each of those: id, row, place in the listing.
-- Gives for each: 's' stored; 'a', deliveries: it was there; 'r', entry, gone, deliveries: its key was taken, and its body is removed.
-- Always writes: what is there already counts as `again`, a repeat as a duplicate.
local source = next_argument()

local function is_there(event, rows)
    for _, row in ipairs(rows) do
        if redis.call('EXISTS', key('d:', row.id)) == 1 then
            return true
        end
    end
    return #rows == 0
        and (redis.call('ZSCORE', key('lone', ''), event) or redis.call('EXISTS', key('r:', event)) == 1)
end

local function append_next()
    local event, taking, received = next_argument(), next_argument(), next_argument()
    local entry, kept = next_argument(), next_argument()
    local sequence, moment, place = next_argument(), next_argument(), next_argument()
    local rows = {}
    for at = 1, tonumber(next_argument()) do
        rows[at] = { id = next_argument(), row = next_argument(), place = next_argument() }
    end
    if is_there(event, rows) then
        count('again', 1)
        return { 'a', (family(event)) }
    end
    local dedupe = key('k:', source, ':' .. taking)
    -- An entry that somebody spoilt is none.
    local taken = taking ~= '' and part_of(dedupe, 0, -1) or ''
    if (tonumber(string.sub(taken, 17, 32)) or 0) > tonumber(received) then
        local first = string.sub(taken, 1, 16)
        if first == event then
            -- What it was stored with is removed by now, and what was made of it later is not.
            count('again', 1)
            return { 'a', (family(event)) }
        elseif redis.call('EXISTS', key('e:', first)) == 1 then
            redis.call('UNLINK', key('e:', event))
            count_source(source, 'duplicates', 1)
            local found, gone = family(first)
            return { 'r', taken, gone, found }
        end
    end
    local listed = add(key('src:', source), place, 'i', event)
    if listed ~= place then
        redis.call('SETRANGE', key('e:', event), 0, pad(listed))
    end
    recount_event(listed, source, 1)
    for _, made in ipairs(rows) do
        local destination = names_of(made.row)
        create(made.id, made.row, made.place, destination, source)
    end
    if #rows == 0 then
        redis.call('ZADD', key('lone', ''), minted(event), event)
    end
    if taking ~= '' then
        redis.call('SET', dedupe, entry, 'PX', kept)
    end
    count_source(source, 'accepted', 1)
    count_source(source, 'stored', 1)
    holds_id(sequence)
    saw(moment)
    return { 's' }
end

local answers = {}
for at = 1, tonumber(next_argument()) do
    answers[at] = append_next()
end
tell()
return answers
