-- An event and its deliveries.

-- What names deliveries that were made of an event later: an id each, and a seal that its reader looks at.
local named_length = 20
local function replays_of(event) return part_of(key('r:', event), 0, -1) end
local function name_replay(event, named)
    local over = #replays_of(event) % named_length
    -- What somebody cut short spoils none that comes behind it.
    local filling = over > 0 and string.rep('\0', named_length - over) or ''
    redis.call('APPEND', key('r:', event), filling .. named)
end

-- Ids of an event's deliveries, those that are gone among them: of those it was stored with, and of those that were made later.
local function ids_in(front, replays)
    local ids = {}
    for at = 3, 2 + 16 * (#front < 2 and 0 or struct.unpack('>I2', front)), 16 do
        ids[#ids + 1] = sub(front, at, at + 15)
    end
    for at = 1, #replays - named_length + 1, named_length do
        ids[#ids + 1] = sub(replays, at, at + 15)
    end
    return ids
end
local function ids_of(event)
    local value = key('e:', event)
    local front = part_of(value, 33, 34)
    return ids_in(#front == 2 and front .. part_of(value, 35, 34 + 16 * struct.unpack('>I2', front)) or '', replays_of(event))
end

-- An event's deliveries that are there: id, row, id, row.
local function family(event)
    local found = {}
    for _, id in ipairs(ids_of(event)) do
        local row = load(id)
        if row then
            found[#found + 1] = id
            found[#found + 1] = row
        end
    end
    return found
end

-- Frees the key that leads to an event whose front this is.
local function free_key(event, source, front)
    local length_at = 3 + 16 * struct.unpack('>I2', front)
    local length = string.byte(front, length_at)
    if length > 0 then
        local entry = key('k:', source, ':' .. sub(front, length_at + 1, length_at + length))
        if part_of(entry, 0, 15) == event then
            redis.call('DEL', entry)
        end
    end
end
