-- Rows. Offsets are those of docs/internals/redis.md, from 0.
local function cut(row, at, length) return sub(row, at + 1, at + length) end
local function put(row, at, bytes) return sub(row, 1, at) .. bytes .. sub(row, at + 1 + #bytes) end
local blanks = '                                 '
local function pad(entry) return entry .. sub(blanks, #entry + 1) end
local function unpad(text) return match(text, '^%S*') end

local function state_of(row) return cut(row, 1, 1) end
local function place_of(row) return cut(row, 2, 1) end
local function version_of(row) return cut(row, 4, 8) end
local function fence_of(row) return cut(row, 12, 16) end
local function due_of(row) return cut(row, 28, 16) end
local function expiry_of(row) return cut(row, 44, 16) end
local function change_of(row) return cut(row, 60, 16) end
local function tries_of(row) return tonumber(cut(row, 84, 10)) end
local function event_of(row) return cut(row, 94, 16) end
local function entry_at(row, at) return sub(row, at + 1, math.min(find(row, ' ', at + 1, true) or at + 34, at + 34) - 1) end
local function entry_of(row) return entry_at(row, 110) end
local function listed_at(row) return entry_at(row, 143) end
local function instance_of(row) return cut(row, 176, 16) end
local function keeper_of(row) return cut(row, 192, 8) end
local function until_of(row) return cut(row, 212, 16) end
local function names_of(row)
    local length = string.byte(row, 243)
    local source = string.byte(row, 244 + length)
    return sub(row, 244, 243 + length), sub(row, 245 + length, 244 + length + source)
end

local function parts_of(entry)
    local ms, number = match(entry, '^(%d+)-(%d+)$')
    return tonumber(ms), tonumber(number)
end

-- A row as it stands there, read once; nothing if that is none.
local rows = {}
local function load(id)
    if rows[id] == nil then
        local row = asked('GET', key('d:', id))
        rows[id] = type(row) == 'string' and row or false
    end
    return rows[id] or nil
end
-- What is kept is written once, with all else that is: see `do_all`.
local kept, is_kept = {}, {}
local function keep(id, row)
    if not is_kept[id] then
        kept[#kept + 1], is_kept[id] = id, true
    end
    rows[id] = row
end
-- Whether there is a row, of any type.
local function is_stored(id) return rows[id] or redis.call('EXISTS', key('d:', id)) == 1 end
local function is_blank_or_entry(text) return match(text, '^%d+%-%d+ *$') or match(text, '^ *$') end
-- Three moments and the number of tries, where they stand.
local reckoned = '^1...........................%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d'
    .. '%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d........%d%d%d%d%d%d%d%d%d%d'
-- Whether a row can be reckoned with. Whether it is what was written, its reader finds out.
local function is_whole(row)
    if #row < 246 or not find(row, reckoned) then
        return false
    end
    local source_at = 244 + string.byte(row, 243)
    return is_blank_or_entry(cut(row, 110, 33)) and is_blank_or_entry(cut(row, 143, 33))
        and source_at < #row and source_at + string.byte(row, source_at) < #row
end

local function raised(eight)
    local high, low = struct.unpack('>I4I4', eight)
    if low == 4294967295 then
        high, low = high + 1, -1
    end
    return struct.pack('>I4I4', high, low + 1)
end

-- The millisecond that an id was minted in.
local function minted(id)
    local high, low = struct.unpack('>I4I2', id)
    return high * 65536 + low
end

-- Where an id stands among those of its millisecond, as `Place::of_id` has it.
local function number_of(id)
    local counter = string.byte(id, 7) % 16 * 256 + string.byte(id, 8)
    local high, low = struct.unpack('>I4I4', id, 9)
    return counter * 1099511627776 + high % 1073741824 * 1024 + math.floor(low / 4194304)
end

-- Where a row will stand that is put into the indexes of its state.
local function place_for(row)
    local state = state_of(row)
    if state == '1' or state == '2' then
        return tries_of(row) == 0 and 'b' or 'd'
    elseif state == '3' then
        return 'l'
    end
    return (state == '5' or state == '6') and 'e' or 'o'
end

-- Whether an entry of a stream is that of an id.
local function is_entry(stream, entry, id)
    local found = entry ~= '' and redis.call('XRANGE', stream, entry, entry)[1]
    return found and found[2][2] == id
end
local function has_score(set, member, score) return tonumber(redis.call('ZSCORE', set, member)) == tonumber(score) end

-- A row with its place in the indexes, and, where that is given, its place in the listing.
local function stands(row, place, entry, listed)
    return sub(row, 1, 2) .. place .. sub(row, 4, 110) .. pad(entry)
        .. (listed and pad(listed) .. sub(row, 177) or sub(row, 144))
end
