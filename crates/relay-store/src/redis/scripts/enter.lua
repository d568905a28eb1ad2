-- How rows come into the indexes of their state.

-- Milliseconds of a moment.
local function millis(moment) return string.format('%.0f', math.floor(tonumber(moment) / 1000)) end

local function named(kind, id)
    local hex = string.gsub(id, '.', function(byte) return string.format('%02x', string.byte(byte)) end)
    return kind .. string.gsub(hex, '^(%x%x%x%x%x%x%x%x)(%x%x%x%x)(%x%x%x%x)(%x%x%x%x)', '%1-%2-%3-%4-')
end

-- Dead letters leave the stream of their listing: one that keeps a few of its entries keeps most of its memory.
local function bury(id, row, destination, source)
    local entry = redis.pcall('XADD', dead_letters, '*', 'delivery', named('dlv_', id), 'event',
        named('evt_', event_of(row)), 'source', source, 'destination', destination, 'state', state_of(row))
    entry = type(entry) == 'string' and entry or ''
    redis.call('ZADD', key('ended:', destination), change_of(row), id)
    local listed = listed_at(row)
    if listed ~= '' then
        redis.call('XDEL', key('log:', destination), listed)
        redis.call('ZADD', key('made:', destination), minted(id), id)
        row = put(row, 143, pad(''))
    end
    return stands(row, 'e', entry)
end

-- Puts a row into the indexes of its state; gives it with its place in them.
local function enter(id, row, destination, source)
    local place = place_for(row)
    if place == 'b' or place == 'd' then
        redis.call('ZADD', key('exp:', destination), expiry_of(row), id)
        if place == 'b' then
            redis.call('ZADD', key('back:', destination, track), due_of(row), id)
            return stands(row, 'b', '')
        end
        redis.call('ZADD', key('due:', destination, track), due_of(row), id)
        redis.call('ZADD', key('tries:', destination, track), tries_of(row), due_of(row) .. id)
        return stands(row, 'd', '')
    elseif place == 'l' then
        local member = id .. instance_of(row)
        ended[member] = nil
        redis.call('ZADD', key('leases', ''), until_of(row), member)
        return stands(row, 'l', '')
    elseif place == 'e' then
        return bury(id, row, destination, source)
    end
    local entry = add(key('done:', destination), millis(change_of(row)) .. '-*', 'i', id)
    return stands(row, 'o', entry)
end
