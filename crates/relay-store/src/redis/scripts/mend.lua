-- mend: puts rows into the indexes of their state where they are missing there, and events into the listing of their source; takes away
-- bodies whose script never ran: they stand in no listing and have none of their deliveries.
-- A delivery that its event does not name is named as one that was made later.
-- ARGV: 1 if it only looks, number of deliveries; for each: id, its name for its event (nothing: its row does not hold); number of events; for each: id,
-- source, place in the listing, 1 if its script will not run any more, its front and names of later deliveries as they were read. Gives how
-- many places were put right, and how many bodies went. Always writes.
local only_looks = next_argument() == '1'
local mended, orphans = 0, 0

local function next_delivery()
    local delivery = { id = next_argument(), named = next_argument() }
    local row = load(delivery.id)
    if row and is_whole(row) then
        local destination = names_of(row)
        check_place(place_of(row), destination)
        check_place(place_for(row), destination)
        must_be('stream', key('log:', destination))
        must_be('zset', key('made:', destination))
        must_be('string', key('r:', event_of(row)))
    end
    return delivery
end

local function next_event()
    local event = {
        id = next_argument(), source = next_argument(), place = next_argument(), is_old = next_argument(),
        front = next_argument(), replays = next_argument(),
    }
    must_be('stream', key('src:', event.source))
    return event
end

-- Whether the group will still read an entry.
local function is_unread(entry, destination)
    local ms, number = parts_of(entry)
    local read_ms, read_number = parts_of(cursor_of(destination))
    return ms > read_ms or (ms == read_ms and number > read_number)
end

local function stands_right(id, row, destination)
    local place, entry = place_of(row), entry_of(row)
    if place == 'l' then
        return has_score(key('leases', ''), id .. instance_of(row), until_of(row))
    elseif place == 'e' then
        return has_score(key('ended:', destination), id, change_of(row))
    elseif place == 'o' then
        return is_entry(key('done:', destination), entry, id)
    elseif not has_score(key('exp:', destination), id, expiry_of(row)) then
        return false
    elseif place == 'r' then
        return is_entry(key('ready:', destination, track .. generation), entry, id) and is_unread(entry, destination)
            and not is_behind_entry(row)
    elseif place == 'd' then
        return has_score(key('due:', destination, track), id, due_of(row))
            and has_score(key('tries:', destination, track), due_of(row) .. id, tries_of(row))
    end
    return has_score(key('back:', destination, track), id, due_of(row))
end

-- Whether a row says a place that its state has. Only scripts have seen that byte.
local function has_its_place(row)
    local place, wanted = place_of(row), place_for(row)
    return place == wanted or (place == 'r' and wanted == 'b')
end

-- Whether an event names a delivery: with those that it was stored with, or behind them under the seal that it should have.
local function is_named(event, id, named)
    local replays = replays_of(event)
    for at = 1, #replays - #named + 1, #named do
        if sub(replays, at, at + #named - 1) == named then
            return true
        end
    end
    local value = key('e:', event)
    local front = part_of(value, 33, 34)
    local length = #front == 2 and 16 * struct.unpack('>I2', front) or 0
    for _, first in ipairs(ids_in(front .. part_of(value, 35, 34 + length), '')) do
        if first == id then
            return true
        end
    end
    return false
end

local function mend_delivery(delivery)
    local id, row = delivery.id, load(delivery.id)
    if not row or not is_whole(row) then
        return
    end
    local destination, source = names_of(row)
    local event = event_of(row)
    if delivery.named ~= '' and parts_of(unpad(part_of(key('e:', event), 0, 32)))
        and not is_named(event, id, delivery.named) then
        if not only_looks then
            name_replay(event, delivery.named)
        end
        mended = mended + 1
    end
    local was = row
    local listed = listed_at(row)
    if listed ~= '' and not is_entry(key('log:', destination), listed, id) then
        row, listed = put(row, 143, pad('')), ''
    end
    if listed == '' and not has_score(key('made:', destination), id, minted(id)) then
        if not only_looks then
            redis.call('ZADD', key('made:', destination), minted(id), id)
        end
        mended = mended + 1
    end
    if not has_its_place(row) or not stands_right(id, row, destination) then
        if not only_looks then
            leave(id, row, destination)
            row = enter(id, row, destination, source)
        end
        mended = mended + 1
    end
    if row ~= was and not only_looks then
        recount_delivery(id, was, destination, -1)
        recount_delivery(id, row, destination, 1)
        keep(id, row)
    end
end

local function has_deliveries(ids)
    for _, id in ipairs(ids) do
        if is_stored(id) then
            return true
        end
    end
    return false
end

local function mend_event(of)
    local event, value, stream = of.id, key('e:', of.id), key('src:', of.source)
    local listed = unpad(part_of(value, 0, 32))
    -- What has changed since it was read is looked at when it is read again.
    if not parts_of(listed) or part_of(value, 33, 32 + #of.front) ~= of.front or replays_of(event) ~= of.replays then
        return
    end
    local ids = ids_in(of.front, of.replays)
    local is_listed = is_entry(stream, listed, event)
    if has_deliveries(ids) or redis.call('ZSCORE', key('lone', ''), event) then
        if not is_listed then
            if not only_looks then
                redis.call('SETRANGE', value, 0, pad(add(stream, of.place, 'i', event)))
            end
            mended = mended + 1
        end
    elseif #ids == 0 and is_listed then
        if not only_looks then
            redis.call('ZADD', key('lone', ''), minted(event), event)
        end
        mended = mended + 1
    elseif #ids > 0 and not is_listed and of.is_old == '1' then
        if not only_looks then
            redis.call('UNLINK', value, key('r:', event))
        end
        orphans = orphans + 1
    end
end

must_be('hash', counters)
must_be('zset', key('lone', ''))
local deliveries, events = all_of(next_delivery), all_of(next_event)
do_all(function()
    for _, delivery in ipairs(deliveries) do
        mend_delivery(delivery)
    end
    for _, event in ipairs(events) do
        mend_event(event)
    end
end)
count('again', 1)
tell()
return { mended, orphans }
