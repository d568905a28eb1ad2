-- trial: does what all scripts do and some that call themselves Redis do not: it reads a key that nobody named beforehand, beside one that
-- was. KEYS: one that is never there. Gives 0. Writes nothing.
return redis.call('EXISTS', KEYS[1] .. ':beside')
