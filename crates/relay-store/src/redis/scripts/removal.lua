-- What is removed: each is read and looked at first, and done once all that a script is given were.

-- A row without what says where it stands: that alone is written by scripts, and is under no seal.
local function without_places(row) return sub(row, 1, 2) .. sub(row, 4, 110) .. sub(row, 177) end

-- Looks whether an event, its listing and its key can be removed.
local function check_event(source)
    must_be('stream', key('src:', source))
    must_be('hash', counters)
end

-- Removes an event whose front this is, its listing, and the key that leads there.
local function remove_event(event, source, front)
    local value = key('e:', event)
    if front ~= '' then
        free_key(event, source, front)
    end
    local listed = unpad(part_of(value, 0, 32))
    -- Of one that is lost, or was spoilt, nobody knows it.
    if parts_of(listed) then
        local found = redis.call('XRANGE', key('src:', source), listed, listed)[1]
        if found and found[2][2] == event then
            redis.call('XDEL', key('src:', source), listed)
            recount_event(listed, source, -1)
        end
    end
    -- One that is gone already was counted by whoever found that out.
    if redis.call('UNLINK', value) == 1 then
        count_source(source, 'stored', -1)
        count_source(source, 'retired', 1)
    end
    redis.call('UNLINK', key('r:', event))
end

-- Whether an event is what was read of it: its front, nothing where it is not there, and what names its later deliveries.
local function is_event(event, front, replays)
    local value, is_there = key('e:', event), nil
    if front == '' then
        is_there = redis.call('EXISTS', value) == 0
    else
        is_there = part_of(value, 33, 32 + #front) == front
    end
    -- What is of another type by now is not what was read, were that nothing.
    return is_there and asked('GETRANGE', key('r:', event), 0, -1) == replays
end

-- A removal, with all that it is decided on as its reader found it sealed: row, and front and names of the event; `k` where the
-- event is spoilt and stays; whether it was acknowledged lately. `unlike`: something is other than that by now, and is to be read again.
local function next_removal()
    local removal = {
        id = next_argument(), version = next_argument(), state = next_argument(), row = next_argument(),
        of = next_argument(), front = next_argument(), replays = next_argument(), is_young = next_argument() == '1',
    }
    local stored = load(removal.id)
    removal.destination, removal.source = names_of(removal.row)
    removal.event = event_of(removal.row)
    if not stored or version_of(stored) ~= removal.version or state_of(stored) ~= removal.state then
        removal.is_over = true
        return removal
    end
    removal.unlike = not is_whole(stored) or without_places(stored) ~= without_places(removal.row)
        or (removal.of ~= 'k' and not is_event(removal.event, removal.front, removal.replays))
    if not removal.unlike then
        check_place(place_of(stored), removal.destination)
        must_be('stream', key('log:', removal.destination))
        must_be('zset', key('made:', removal.destination))
        must_be('stream', key('gone', ''))
        check_event(removal.source)
    end
    return removal
end

-- Removes an ended delivery if it is the one decided on: 0, 1, or 2 if its event went along; 3: it is to be read again.
local function retire(removal)
    local id, stored = removal.id, load(removal.id)
    if removal.is_over or not stored or version_of(stored) ~= removal.version or state_of(stored) ~= removal.state then
        return 0
    elseif removal.unlike then
        return 3
    end
    local listed, log = listed_at(stored), key('log:', removal.destination)
    if listed ~= '' and not is_entry(log, listed, id) then
        -- Its listing is another's, or lost, and would be taken for that of one that is: the next round makes it right.
        return 0
    end
    local placed = stored
    if place_of(stored) == 'o' and not is_entry(key('done:', removal.destination), entry_of(stored), id) then
        placed = stands(stored, 'o', '')
    end
    leave(id, placed, removal.destination)
    recount_delivery(id, stored, removal.destination, -1)
    if listed ~= '' then
        redis.call('XDEL', log, listed)
    else
        redis.call('ZREM', key('made:', removal.destination), id)
    end
    redis.call('DEL', key('d:', id), key('t:', id))
    rows[id] = false
    if removal.is_young then
        -- Whoever acknowledged it lately does not take it for lost. It is for these few only, and they are not missed.
        redis.call('XADD', key('gone', ''), 'MAXLEN', 4096, '*', 'i', id)
    end
    count_destination(removal.destination, removal.state, -1)
    count_destination(removal.destination, 'retired', 1)
    if removal.of == 'k' then
        return 1
    end
    for _, other in ipairs(ids_in(removal.front, removal.replays)) do
        if is_stored(other) then
            return 1
        end
    end
    remove_event(removal.event, removal.source, removal.front)
    return 2
end
