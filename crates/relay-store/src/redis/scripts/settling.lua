-- Changes of rows: each is read and looked at first, and done once all that a script is given were.
local function next_change()
    local change = {
        id = next_argument(), state = next_argument(), version = next_argument(), fence = next_argument(),
        row = next_argument(), archive = next_argument(), line = next_argument(), place = next_argument(),
        class = next_argument(), retried = tonumber(next_argument()),
    }
    local stored = load(change.id)
    change.destination, change.source = names_of(change.row)
    if stored and is_whole(stored) then
        check_place(place_of(stored), change.destination)
        check_place(place_for(change.row), change.destination)
        if change.line ~= '' then
            must_be('stream', key('audit', ''))
        end
    end
    return change
end

-- Applies a change if the header is the one decided on: gives 1, or the row that stands there, or 0.
local function settle(change)
    local id, row, stored = change.id, change.row, load(change.id)
    if not stored then
        return 0
    end
    if not is_whole(stored) or state_of(stored) ~= change.state or version_of(stored) ~= change.version
        or fence_of(stored) ~= change.fence then
        return stored
    end
    leave(id, stored, change.destination)
    recount_delivery(id, stored, change.destination, -1)
    row = put(row, 143, cut(stored, 143, 33))
    row = enter(id, row, change.destination, change.source)
    keep(id, row)
    recount_delivery(id, row, change.destination, 1)
    if change.archive ~= '' then
        -- A list that somebody spoilt keeps nothing from its end.
        redis.pcall('RPUSH', key('t:', id), change.archive)
    end
    if change.line ~= '' then
        add(key('audit', ''), change.place, 'l', change.line)
    end
    count_destination(change.destination, change.state, -1)
    count_destination(change.destination, state_of(row), 1)
    if change.class ~= '' then
        count_destination(change.destination, 'o' .. change.class, 1)
        count_destination(change.destination, 'retried', change.retried)
    end
    saw(change_of(row))
    return 1
end
