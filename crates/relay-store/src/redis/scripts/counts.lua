-- What is written once for a script, whatever it did: rows and leases that end behind what is done (`do_all`), counters and what waits for
-- its end last of all (`tell`).

-- What ids are minted past, and the latest moment, stand in counters twice: as they are, and digit by digit as what is missing to nine.
-- Nothing is believed of what does not agree.
local nines = {
    ['0'] = '9', ['1'] = '8', ['2'] = '7', ['3'] = '6', ['4'] = '5', ['5'] = '4', ['6'] = '3', ['7'] = '2', ['8'] = '1', ['9'] = '0',
}
local function twice(digits) return digits .. (string.gsub(digits, '%d', nines)) end
local function once(text, length)
    local digits = match(sub(text or '', 1, length), '^%d+$')
    return digits and #digits == length and twice(digits) == text and digits or nil
end

-- Counters move once for a script, whatever it counted.
local moved = {}
local function count(field, by) moved[field] = (moved[field] or 0) + by end
local of_sources, of_destinations = {}, {}
local function count_of(all, of, what, by)
    local its = all[of] or {}
    all[of], its[what] = its, (its[what] or 0) + by
end
local function count_source(source, what, by) count_of(of_sources, source, what, by) end
local function count_destination(destination, what, by) count_of(of_destinations, destination, what, by) end

local latest, floor = nil, nil
local function saw(moment)
    if not latest or tonumber(latest) < tonumber(moment) then
        latest = moment
    end
end
local function is_above(one, other)
    local ms, than = tonumber(sub(one, 1, 16)), tonumber(sub(other, 1, 16))
    return ms > than or (ms == than and tonumber(sub(one, 17)) > tonumber(sub(other, 17)))
end
local function holds_id(sequence)
    if not floor or is_above(sequence, floor) then
        floor = sequence
    end
end

-- What a recount has passed already is moved in its tally, too, and with the counters: see `recount`.
local tally = key('tally', '')
local recounted = {}
local function recount(field, by) recounted[field] = (recounted[field] or 0) + by end
local passed, is_tally_spoilt = nil, false
-- Whether there is a recount.
local function is_recounted()
    if passed == nil then
        passed = redis.pcall('HMGET', tally, 'run', 'of', 'ms', 'number')
    end
    return passed[1]
end
local function is_passed(of, ms, number)
    if passed[2] == of then
        local at, last = tonumber(passed[3]), tonumber(passed[4])
        is_tally_spoilt = not at or not last
        return not is_tally_spoilt and (ms < at or (ms == at and number <= last))
    end
    return redis.call('HEXISTS', tally, 'done:' .. of) == 1
end
local function recount_delivery(id, row, destination, by)
    if not is_recounted() then
        return
    end
    local of, listed = 'd:' .. destination, listed_at(row)
    local ms, number
    if listed ~= '' then
        ms, number = parts_of(listed)
    else
        ms, number = minted(id), number_of(id)
    end
    if is_passed(of, ms, number) then
        recount(of .. ':' .. state_of(row), by)
    end
end
local function recount_event(listed, source, by)
    if is_recounted() and is_passed('s:' .. source, parts_of(listed)) then
        recount('s:' .. source, by)
    end
end

-- What waits for its first lease expires like all that waits: put there together, for each destination.
local expiries = {}
-- Leases that end, and their entries of the stream, leave together.
local ended, read = {}, {}
-- Due times of the last that was put into each stream of what waits, and which of them have risen.
local lasts, risen = {}, {}

-- Moves what is counted in a hash; gives what is no number there, which stays as it is.
local function move(hash, by_field)
    local spoilt = {}
    for field, by in pairs(by_field) do
        if by ~= 0 and type(redis.pcall('HINCRBY', hash, field, by)) == 'table' then
            spoilt[#spoilt + 1] = field
        end
    end
    return spoilt
end

local function write_rows()
    local pairs_of = {}
    for _, id in ipairs(kept) do
        -- What was removed behind it stays so.
        if rows[id] then
            pairs_of[#pairs_of + 1] = key('d:', id)
            pairs_of[#pairs_of + 1] = rows[id]
        end
    end
    of_many(pairs_of, function(...) redis.call('MSET', ...) end)
end
-- Entries of a stream, all at once; one that is no name of an entry, since somebody spoilt its row, keeps no other.
local function of_entries(entries, ask)
    of_many(entries, function(...)
        if type(ask(...)) == 'table' then
            for _, entry in ipairs({ ... }) do
                ask(entry)
            end
        end
    end)
end
local function end_leases()
    local members = {}
    for member in pairs(ended) do
        members[#members + 1] = member
    end
    of_many(members, function(...) redis.call('ZREM', key('leases', ''), ...) end)
    for destination, entries in pairs(read) do
        local ready = key('ready:', destination, track .. generation)
        of_entries(entries, function(...) return redis.pcall('XACK', ready, group, ...) end)
        of_entries(entries, function(...) return redis.pcall('XDEL', ready, ...) end)
    end
end

-- All that a script does to rows. Where that fails half way, by something spoilt that nobody looks at first, what was kept by then is written
-- all the same: no key, name or index leads to a row that is not there.
local function do_all(body)
    local is_done, fault = pcall(body)
    write_rows()
    end_leases()
    if not is_done then
        error(fault, 0)
    end
end

-- Last of all: what was counted and seen. What is spoilt there refuses nothing: it is marked, and whoever glances counts again.
local function tell()
    for destination, of in pairs(expiries) do
        of_many(of, function(...) redis.call('ZADD', key('exp:', destination), ...) end)
    end
    for source, its in pairs(of_sources) do
        for what, by in pairs(its) do
            moved['s:' .. source .. ':' .. what] = by
        end
    end
    for destination, its in pairs(of_destinations) do
        for what, by in pairs(its) do
            moved['d:' .. destination .. ':' .. what] = by
        end
    end
    local kept = redis.call('HMGET', counters, 'latest', 'floor')
    local known_latest, known_floor = once(kept[1], 16), once(kept[2], 20)
    local spoilt, set = move(counters, moved), {}
    if kept[1] and not known_latest then
        spoilt[#spoilt + 1] = 'latest'
    end
    if kept[2] and not known_floor then
        spoilt[#spoilt + 1] = 'floor'
    end
    for _, field in ipairs(spoilt) do
        set[#set + 1] = 'spoilt:' .. field
        set[#set + 1] = 1
    end
    if latest and (not known_latest or tonumber(known_latest) < tonumber(latest)) then
        set[#set + 1] = 'latest'
        set[#set + 1] = twice(latest)
    end
    if floor and (not known_floor or is_above(floor, known_floor)) then
        set[#set + 1] = 'floor'
        set[#set + 1] = twice(floor)
    end
    for destination in pairs(risen) do
        set[#set + 1] = 'last:' .. destination
        set[#set + 1] = lasts[destination]
    end
    of_many(set, function(...) redis.call('HSET', counters, ...) end)
    -- A tally that is spoilt counts nothing any more: whoever counts begins anew.
    if #move(tally, recounted) > 0 or is_tally_spoilt then
        redis.call('DEL', tally)
    end
end
