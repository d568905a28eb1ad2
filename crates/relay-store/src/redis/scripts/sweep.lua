-- sweep: takes out of an index what does not stand there: its row is gone, or stands elsewhere; and puts right by when an id stands there.
-- ARGV: 1 if it only looks, index, its name (nothing for those of a partition), number of entries; for each: the entry or member, and the id in it.
-- Gives how many were taken out or put right, and, of a listing, the ids of those whose row, or event, is gone. What cannot be reckoned with stays. Writes only what it takes out.
local only_looks = next_argument() == '1'
local index, name = next_argument(), next_argument()
local behind = { ready = track .. generation, back = track, due = track, tries = track }
local at = key(name == '' and index or index .. ':', name, behind[index])
local is_stream = ({ ready = true, done = true, log = true, src = true })[index]
must_be(is_stream and 'stream' or 'zset', at)

-- What a row has to say to stand there.
local stands_in = {
    ready = function(row, entry) return (place_of(row) == 'r' or place_of(row) == 'l') and entry_of(row) == entry end,
    back = function(row) return place_of(row) == 'b' end,
    due = function(row) return place_of(row) == 'd' end,
    tries = function(row, member) return place_of(row) == 'd' and due_of(row) == sub(member, 1, 16) end,
    exp = function(row) return place_of(row) == 'r' or place_of(row) == 'b' or place_of(row) == 'd' end,
    leases = function(row, member) return place_of(row) == 'l' and instance_of(row) == sub(member, 17) end,
    done = function(row, entry) return place_of(row) == 'o' and entry_of(row) == entry end,
    ended = function(row) return place_of(row) == 'e' end,
    log = function(row, entry) return listed_at(row) == entry end,
    made = function(row) return listed_at(row) == '' end,
}

local function is_right(entry, id)
    if index == 'steps' then
        return redis.call('EXISTS', key('step:', id)) == 1
    elseif index == 'lone' then
        return redis.call('EXISTS', key('e:', id)) == 1 and redis.call('EXISTS', key('r:', id)) == 0
    elseif index == 'src' then
        local listed = unpad(part_of(key('e:', id), 0, 32))
        return listed == entry or (redis.call('EXISTS', key('e:', id)) == 1 and not parts_of(listed))
    end
    local row = load(id)
    if row and is_whole(row) then
        local destination = names_of(row)
        return (name == '' or destination == name) and stands_in[index](row, entry)
    end
    return is_stored(id)
end

-- Since it was read it may have left.
local function is_still_there(entry)
    if is_stream then
        return #redis.call('XRANGE', at, entry, entry) == 1
    end
    return redis.call('ZSCORE', at, entry)
end

-- Where everything stands that there is: what is gone from there without its listing is lost. In all other indexes it is only a stray.
local lists_all = ({ log = true, made = true, src = true })[index]
-- Of these the score is the millisecond of the id, and nobody makes them of rows again.
local is_by_id = index == 'lone' or index == 'steps'

local taken_out, lost = 0, {}
for _ = 1, tonumber(next_argument()) do
    local entry, id = next_argument(), next_argument()
    if not is_right(entry, id) and is_still_there(entry) then
        local kind = (index == 'src' or index == 'lone') and 'e:' or 'd:'
        if lists_all and redis.call('EXISTS', key(kind, id)) == 0 then
            lost[#lost + 1] = id
        end
        if index == 'ready' and not only_looks then
            redis.call('XACK', at, group, entry)
        end
        if only_looks then
            -- It is counted.
        elseif is_stream then
            redis.call('XDEL', at, entry)
        else
            redis.call('ZREM', at, entry)
        end
        taken_out = taken_out + 1
    elseif is_by_id and #id == 16 and is_still_there(entry) and not has_score(at, entry, minted(id)) then
        if not only_looks then
            redis.call('ZADD', at, minted(id), entry)
        end
        taken_out = taken_out + 1
    end
end
return { taken_out, lost }
