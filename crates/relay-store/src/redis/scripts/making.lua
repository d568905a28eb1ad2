-- New deliveries of events that are there: each is read and looked at first, and stored once all that a script is given were.
local function next_made()
    local made = {
        id = next_argument(), row = next_argument(), place = next_argument(), sequence = next_argument(),
        named = next_argument(),
    }
    made.event = event_of(made.row)
    check_new(made.row)
    must_be('string', key('r:', made.event))
    must_be('zset', key('lone', ''))
    return made
end

-- Whether a delivery with the same tail was made of an event: by the same job, whose mark was lost, or which another one runs too.
-- It minted another id for that. What it made may have been removed since; the name goes with the event.
local function is_named(made)
    local named, tail = replays_of(made.event), sub(made.id, 9)
    for at = 9, #named - named_length + 9, named_length do
        if sub(named, at, at + 7) == tail then
            return true
        end
    end
    return false
end

-- Stores a new delivery of an event: 0 if that is gone, 1 if it was there already, 2 if it is stored.
local function make(made)
    if redis.call('EXISTS', key('e:', made.event)) == 0 then
        return 0
    end
    if is_stored(made.id) or is_named(made) then
        return 1
    end
    local destination, source = names_of(made.row)
    create(made.id, made.row, made.place, destination, source)
    name_replay(made.event, made.named)
    redis.call('ZREM', key('lone', ''), made.event)
    holds_id(made.sequence)
    saw(change_of(made.row))
    return 2
end
