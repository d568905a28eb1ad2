-- mend: puts rows into the indexes of their state where they are missing there, and events into the listing of their source; takes away
-- bodies whose script never ran: they stand in no listing and have none of their deliveries.
-- A delivery that its event does not name is named as one that was made later.
-- ARGV: number of deliveries, their ids; number of events; for each: id, source, place in the listing, 1 if its script will not run any
-- more. Gives how many places were put right, and how many bodies went. Always writes.
local mended, orphans = 0, 0

local function is_entry(stream, entry, id)
    local found = entry ~= '' and redis.call('XRANGE', stream, entry, entry)[1]
    return found and found[2][2] == id
end

-- Whether the group will still read an entry.
local function is_unread(entry, destination)
    local cursor = redis.call('HGET', counters, 'cursor:' .. destination) or '0-0'
    local ms, number = parts_of(entry)
    local read_ms, read_number = parts_of(cursor)
    return ms > read_ms or (ms == read_ms and number > read_number)
end

local function stands_right(id, row, destination)
    local place, entry = place_of(row), entry_of(row)
    if place == 'l' then
        return redis.call('ZSCORE', key('leases', ''), id .. instance_of(row))
    elseif place == 'e' then
        return redis.call('ZSCORE', key('ended:', destination), id)
    elseif place == 'o' then
        return is_entry(key('done:', destination), entry, id)
    elseif not redis.call('ZSCORE', key('exp:', destination), id) then
        return false
    elseif place == 'r' then
        return is_entry(key('ready:', destination, track .. generation), entry, id) and is_unread(entry, destination)
    elseif place == 'd' then
        return redis.call('ZSCORE', key('due:', destination, track), id)
            and redis.call('ZSCORE', key('tries:', destination, track), due_of(row) .. id)
    end
    return redis.call('ZSCORE', key('back:', destination, track), id)
end

local function is_one_of(ids, id)
    for at = 1, #ids, 16 do
        if string.sub(ids, at, at + 15) == id then
            return true
        end
    end
    return false
end

local function mend_delivery(id)
    local row = load(id)
    if not row or not is_whole(row) then
        return
    end
    local destination, source = names_of(row)
    local event = event_of(row)
    if parts_of(unpad(part_of(key('e:', event), 0, 32))) and not is_one_of(ids_of(event), id) then
        redis.call('APPEND', key('r:', event), id)
        mended = mended + 1
    end
    local was = row
    local listed = listed_at(row)
    if listed ~= '' and not is_entry(key('log:', destination), listed, id) then
        row, listed = put(row, 143, pad('')), ''
    end
    if listed == '' and not redis.call('ZSCORE', key('made:', destination), id) then
        redis.call('ZADD', key('made:', destination), minted(id), id)
        mended = mended + 1
    end
    if not stands_right(id, row, destination) then
        leave(id, row, destination)
        row = enter(id, row, destination, source)
        mended = mended + 1
    end
    if row ~= was then
        recount_delivery(id, was, destination, -1)
        recount_delivery(id, row, destination, 1)
        redis.call('SET', key('d:', id), row)
    end
end

local function has_deliveries(event)
    local ids = ids_of(event)
    for at = 1, #ids, 16 do
        if redis.call('EXISTS', key('d:', string.sub(ids, at, at + 15))) == 1 then
            return true
        end
    end
    return false, #ids == 0
end

local function mend_event(event, source, place, is_old)
    local value, stream = key('e:', event), key('src:', source)
    local listed = unpad(part_of(value, 0, 32))
    if not parts_of(listed) then
        return
    end
    local is_listed = is_entry(stream, listed, event)
    local has, never_had = has_deliveries(event)
    if has or redis.call('ZSCORE', key('lone', ''), event) then
        if not is_listed then
            redis.call('SETRANGE', value, 0, pad(add(stream, place, 'i', event)))
            mended = mended + 1
        end
    elseif never_had and is_listed then
        redis.call('ZADD', key('lone', ''), minted(event), event)
        mended = mended + 1
    elseif not never_had and not is_listed and is_old == '1' then
        redis.call('UNLINK', value, key('r:', event))
        orphans = orphans + 1
    end
end

for _ = 1, tonumber(next_argument()) do
    mend_delivery(next_argument())
end
for _ = 1, tonumber(next_argument()) do
    mend_event(next_argument(), next_argument(), next_argument(), next_argument())
end
count('again', 1)
tell()
return { mended, orphans }
