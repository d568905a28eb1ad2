-- lease: leases what is due at a destination, as `LeaseAsk` says, 64 at most.
-- ARGV: destination, now, limit, how many that were tried at most, order (s, f, n), share of those, nonce, who takes it with its CRC, the
-- end with its CRC, consumer. Refused as STRAYED, before it writes, where group or cursor are not where they were left.
-- Gives: 0 drained, 1 only tried ones are left, 2 there may be more; when the next is due or nothing; 1 if a tried one waits; how many
-- are open; then id and row of each, also of those that cannot be reckoned with, and of those that only a later version understands: these
-- keep their places, for it leases them. Always writes.
local destination, now = next_argument(), next_argument()
local limit, tried_max = tonumber(next_argument()), tonumber(next_argument())
local order, share = next_argument(), tonumber(next_argument())
local nonce, taken, ending, consumer = next_argument(), next_argument(), next_argument(), next_argument()
local ready = key('ready:', destination, track .. generation)
local back, due = key('back:', destination, track), key('due:', destination, track)
local by_tries = key('tries:', destination, track)
local moment = tonumber(now)
-- More are looked at only where many have expired and nobody has ended them yet.
local look_max = 256

must_be('hash', counters)
for _, place in ipairs({ 'l', 'b', 'd' }) do
    check_place(place, destination)
end

-- Whether a row that can be reckoned with holds nothing that a later version means by it: of its record, behind the names and their CRC, the
-- version, the flags, and the number of its job.
local function is_understood(row)
    local source_at = 244 + string.byte(row, 243)
    local at = source_at + string.byte(row, source_at) + 5
    local version, _, _, low, high = string.byte(row, at, at + 4)
    return version == 1 and (low or 16) < 16 and high == 0 and sub(row, at + 45, at + 48) == '\0\0\0\0'
end
-- Whether an id comes before another: by its bytes, and not, as strings compare here, by the machine's language.
local function is_before(one, other)
    for at = 1, 13, 4 do
        local mine, than = struct.unpack('>I4', one, at), struct.unpack('>I4', other, at)
        if mine ~= than then
            return mine < than
        end
    end
    return false
end

local cursor = cursor_of(destination)
local whole, passed_over, later = {}, {}, {}
local function pass_over(id, row)
    passed_over[#passed_over + 1] = id
    passed_over[#passed_over + 1] = row
    whole[id] = false
end
local function row_of(id)
    if whole[id] == nil then
        local row = load(id)
        if row and not is_whole(row) then
            pass_over(id, row)
        elseif row and not is_understood(row) then
            later[id] = row
            pass_over(id, row)
        else
            whole[id] = row or false
        end
    end
    return whole[id]
end
local function is_due(row) return tonumber(due_of(row)) <= moment and tonumber(expiry_of(row)) > moment end
local function comes_first(one, other)
    local first, second = tonumber(due_of(row_of(one))), tonumber(due_of(row_of(other)))
    return first < second or (first == second and is_before(one, other))
end

-- Those of a set that may be leased, in its order, one more than are wanted. What does not wait there is taken out later.
local strays, is_cut = {}, false
local function of_set(command, set, place, from, to)
    local found, at, is_over = {}, 0, false
    repeat
        local ids = redis.call(command, set, from, to, 'LIMIT', at, limit + 1)
        is_over = #ids <= limit
        for _, member in ipairs(ids) do
            local id = sub(member, -16)
            local row = row_of(id)
            local stands = row or later[id]
            if not stands or place_of(stands) ~= place then
                strays[#strays + 1] = { set = set, member = member }
            elseif row and #found <= limit and is_due(row) then
                found[#found + 1] = id
            end
        end
        at = at + #ids
    until #found > limit or is_over or at >= look_max
    is_cut = is_cut or (#found <= limit and not is_over)
    return found
end

-- Entries of the stream behind the cursor. Where that was lost, what is leased by now is among them.
local entry_of_id, behind = {}, {}
local function stands_at(row, place, entry) return row and place_of(row) == place and entry_of(row) == entry end
-- The row of an entry, and whether it waits there. One that is due later than its entry says is spoilt: it must not hide what stands
-- behind it.
local function row_in_stream(entry)
    local id = entry[2][2]
    local row = row_of(id)
    local waits = stands_at(row, 'r', entry[1])
    if waits and is_behind_entry(row) then
        pass_over(id, row)
        return nil, false
    end
    return row, waits
end
local next_in_stream
local function oldest_in_stream()
    local found = {}
    for _, entry in ipairs(redis.call('XRANGE', ready, '(' .. cursor, '+', 'COUNT', limit + 1 + 64)) do
        local id = entry[2][2]
        local row, waits = row_in_stream(entry)
        if waits and tonumber(due_of(row)) > moment then
            next_in_stream = due_of(row)
            break
        end
        behind[#behind + 1] = { entry = entry[1], id = id, is_held = stands_at(row, 'l', entry[1]) }
        if waits and is_due(row) then
            entry_of_id[id] = entry[1]
            found[#found + 1] = id
            if #found > limit then
                break
            end
        end
    end
    return found
end
local function newest_in_stream()
    local found = {}
    local entries = redis.call('XREVRANGE', ready, '+', '(' .. cursor, 'COUNT', limit + 1 + 64)
    for _, entry in ipairs(entries) do
        local id = entry[2][2]
        local row, waits = row_in_stream(entry)
        if waits and tonumber(due_of(row)) > moment then
            next_in_stream = due_of(row)
        elseif waits and is_due(row) and #found <= limit then
            found[#found + 1] = id
        end
    end
    return found
end

local function merged(one, other, first)
    local all, at, from = {}, 1, 1
    while at <= #one or from <= #other do
        if from > #other or (at <= #one and first(one[at], other[from])) then
            all[#all + 1] = one[at]
            at = at + 1
        else
            all[#all + 1] = other[from]
            from = from + 1
        end
    end
    return all
end
local function part(of, from, to)
    local taken_part = {}
    for at = from, math.min(to, #of) do
        taken_part[#taken_part + 1] = of[at]
    end
    return taken_part
end
local function join(one, other)
    for _, id in ipairs(other) do
        one[#one + 1] = id
    end
    return one
end

local function oldest_tried() return of_set('ZRANGEBYSCORE', due, 'd', '-inf', now) end
local function oldest_fresh()
    return merged(of_set('ZRANGEBYSCORE', back, 'b', '-inf', now), oldest_in_stream(), comes_first)
end
-- Those with the fewest tries among the first that wait, the oldest first; where none of those is due, the oldest that are.
local function fewest_tries()
    local found = of_set('ZRANGEBYSCORE', by_tries, 'd', '-inf', '+inf')
    return #found > 0 and found or oldest_tried()
end
local function candidates()
    if order == 'f' then
        return join(oldest_fresh(), fewest_tries())
    elseif order == 'n' then
        local later = function(one, other) return comes_first(other, one) end
        local fresh = merged(of_set('ZREVRANGEBYSCORE', back, 'b', now, '-inf'), newest_in_stream(), later)
        return join(fresh, fewest_tries())
    end
    local tried, fresh = oldest_tried(), oldest_fresh()
    local of_tried = math.min(#tried, math.max(share, limit - #fresh), tried_max)
    local of_fresh = math.min(#fresh, limit - of_tried)
    local first = merged(part(tried, 1, of_tried), part(fresh, 1, of_fresh), comes_first)
    return join(join(first, part(tried, of_tried + 1, #tried)), part(fresh, of_fresh + 1, #fresh))
end

local waits_tried = redis.call('ZCARD', due) > 0 and 1 or 0
local open = 0
for _, kept in ipairs(redis.call('HMGET', counters, 'd:' .. destination .. ':1', 'd:' .. destination .. ':2',
    'd:' .. destination .. ':3')) do
    open = open + (tonumber(kept or 0) or 0)
end

local leased, tried_ones, kept_back, more = {}, 0, false, false
for _, id in ipairs(candidates()) do
    if #leased >= limit then
        more = true
        break
    end
    local was_tried = tries_of(row_of(id)) > 0
    if was_tried and tried_ones >= tried_max then
        kept_back = true
    else
        tried_ones = tried_ones + (was_tried and 1 or 0)
        leased[#leased + 1] = id
    end
end

-- What is read of the stream: up to the last that is leased, else what has expired at its head.
local is_leased = {}
for _, id in ipairs(leased) do
    is_leased[id] = true
end
local reads = 0
for at, entry in ipairs(behind) do
    if is_leased[entry.id] and entry_of_id[entry.id] then
        reads = at
    end
end
while behind[reads + 1] and not entry_of_id[behind[reads + 1].id] do
    reads = reads + 1
end

if reads > 0 then
    local groups = redis.pcall('XINFO', 'GROUPS', ready)
    local at
    for _, found in ipairs(groups.err and {} or groups) do
        local of = {}
        for field = 1, #found, 2 do
            of[found[field]] = found[field + 1]
        end
        if of['name'] == group then
            at = of['last-delivered-id']
        end
    end
    if at ~= cursor then
        return redis.error_reply('STRAYED the group is at ' .. tostring(at) .. ', not at ' .. cursor)
    end
end

-- What of a row is the same for all of them.
local lease_of_all = taken .. ending .. '0000000000'
local instance, until_then = sub(taken, 1, 16), sub(ending, 1, 16)
local answers = { 0, '', waits_tried, open }
local waited, held = {}, {}
-- From here on it writes.
do_all(function()
    for _, stray in ipairs(strays) do
        redis.call('ZREM', stray.set, stray.member)
    end
    if reads > 0 then
        redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', reads, 'STREAMS', ready, '>')
        cursor = behind[reads].entry
        redis.call('HSET', counters, 'cursor:' .. destination, cursor)
        for at = 1, reads do
            local entry = behind[at]
            if not is_leased[entry.id] and not entry.is_held then
                redis.call('XACK', ready, group, entry.entry)
                redis.call('XDEL', ready, entry.entry)
                local row = row_of(entry.id) or later[entry.id]
                -- Also one whose row names another entry: it waits, and nothing else leads to it.
                if row and place_of(row) == 'r' then
                    redis.call('ZADD', back, due_of(row), entry.id)
                    keep(entry.id, stands(row, 'b', ''))
                end
            end
        end
    end
    for _, id in ipairs(leased) do
        local row = row_of(id)
        local entry = entry_of_id[id] or ''
        if entry ~= '' then
            waited[#waited + 1] = id
        else
            leave(id, row, destination)
        end
        recount_delivery(id, row, destination, -1)
        count_destination(destination, state_of(row), -1)
        row = table.concat({
            sub(row, 1, 1), '3l1', raised(version_of(row)), raised(sub(row, 13, 20)), nonce,
            sub(row, 29, 60), now, sub(row, 77, 110), pad(entry), sub(row, 144, 176), lease_of_all,
            sub(row, 243),
        })
        recount_delivery(id, row, destination, 1)
        count_destination(destination, '3', 1)
        held[#held + 1] = until_then
        held[#held + 1] = id .. instance
        answers[#answers + 1] = id
        answers[#answers + 1] = row
    end
    if #waited > 0 then
        redis.call('ZREM', key('exp:', destination), unpack(waited))
    end
    if #leased > 0 then
        redis.call('ZADD', key('leases', ''), unpack(held))
        for at = 5, #answers, 2 do
            keep(answers[at], answers[at + 1])
        end
        saw(now)
    else
        count('again', 1)
    end
end)
tell()

local next_due = next_in_stream
for _, set in ipairs({ back, due }) do
    local first = redis.call('ZRANGEBYSCORE', set, '(' .. now, '+inf', 'LIMIT', 0, 1)[1]
    local row = first and row_of(first)
    if row and (not next_due or tonumber(due_of(row)) < tonumber(next_due)) then
        next_due = due_of(row)
    end
end
-- Where many have expired that nobody has ended yet, what is behind them is looked at soon: what was read of the stream is read.
if is_cut and (not next_due or tonumber(next_due) > moment + 1000000) then
    next_due = string.format('%016.0f', moment + 1000000)
end
if more or #strays > 0 or (reads > #leased and #behind >= limit + 1 + 64) then
    answers[1] = 2
elseif kept_back then
    answers[1] = 1
end
answers[2] = next_due or ''
-- They are not leased: whoever reads them names them.
for _, part_of_one in ipairs(passed_over) do
    answers[#answers + 1] = part_of_one
end
return answers
