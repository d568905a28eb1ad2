-- What all scripts share that write more than one key. KEYS[1] is the hash of counters, in whose partition all else is; KEYS[2] the stream of
-- dead letters. Scripts copy bytes, compare, and reckon with moments and counts only; versions and fences rise by one, in halves of 32 bits.
-- What stands in front of a script is made anew with each call, so each has only what it needs: `scripts.rs` lists it.
local sub, match, find = string.sub, string.match, string.find
local counters, dead_letters = KEYS[1], KEYS[2]
local prefix = sub(counters, 1, -2)
local group, track, generation = 'relay', ':0', ':1'

local function key(kind, of, behind) return prefix .. kind .. of .. (behind or '') end

-- What a reading command answers; nothing of a key of another type. Any other refusal ends the script before it has written anything: a
-- key that has left for another node is not one that is not there.
local function asked(...)
    local answer = redis.pcall(...)
    if type(answer) ~= 'table' or not answer.err then return answer end
    if string.find(answer.err, 'WRONGTYPE', 1, true) then return nil end
    return redis.call(...)
end

-- Some of a value; nothing of one that is not there, is shorter, or is of another type.
local function part_of(value, from, to)
    local bytes = asked('GETRANGE', value, from, to)
    return type(bytes) == 'string' and bytes or ''
end

-- What a script is going to write is of its type, or not there: a script that fails half way is not undone. So each looks first.
local are_right = {}
local function must_be(of_type, name)
    if not are_right[name] then
        local found = redis.call('TYPE', name)['ok']
        if found ~= of_type and found ~= 'none' then
            error(redis.error_reply('SPOILT ' .. name .. ' is a ' .. found .. ' and not a ' .. of_type))
        end
        are_right[name] = true
    end
end

-- Adds to a stream under this name; where that lies before the last entry, behind that one, in its millisecond.
local function add(stream, name, ...)
    local entry = redis.pcall('XADD', stream, name, ...)
    if type(entry) == 'table' then
        local info = redis.call('XINFO', 'STREAM', stream)
        for at = 1, #info, 2 do
            if info[at] == 'last-generated-id' then
                entry = redis.call('XADD', stream, match(info[at + 1], '^%d+') .. '-*', ...)
            end
        end
    end
    return entry
end

-- Asks for something of many, in parts that fit on the stack.
local function of_many(many, ask)
    for from = 1, #many, 1000 do
        ask(unpack(many, from, math.min(from + 999, #many)))
    end
end

-- The arguments, one after the other.
local argument = 0
local function next_argument()
    argument = argument + 1
    return ARGV[argument]
end
-- So many of one kind, each read.
local function all_of(next_one)
    local all = {}
    for at = 1, tonumber(next_argument()) do
        all[at] = next_one()
    end
    return all
end
