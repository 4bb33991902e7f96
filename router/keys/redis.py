"""Counters in Redis, for replicas on several machines.

Each call is one script, which Redis runs undisturbed. The clocks of the replicas should agree
within a second; what was counted by one that was more than a minute ahead is not counted any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from router.keys.counters import SPAN_S, Counted, CountersLostError, Standing, Sum, Window

CONNECTIONS = 32
TIMEOUT_S = 1.0
_BUDGET_DAYS = 40
"""Longer than any period."""

# KEYS: counts of requests by second, counts of tokens by second, the budget's period, what is spent
# in it, and a name for that sum.
_ADMIT = f"""
local second = tonumber(ARGV[1])
local function window(name)
  local total, oldest, newest = 0, 0, 0
  local counts = redis.call('HGETALL', name)
  for i = 1, #counts, 2 do
    local counted = tonumber(counts[i])
    if counted <= second - {SPAN_S} or counted >= second + {SPAN_S} then
      redis.call('HDEL', name, counts[i])
    else
      total = total + tonumber(counts[i + 1])
      if oldest == 0 or counted < oldest then oldest = counted end
      if counted > newest then newest = counted end
    end
  end
  return total, oldest, newest
end
local function below(used, limit)
  return limit == '' or (used ~= nil and used < tonumber(limit))
end
local requests, first_request, last_request = window(KEYS[1])
local tokens, first_token, last_token = window(KEYS[2])
local spent = false
if ARGV[3] == '1' and redis.call('HGET', KEYS[3], 'period') == ARGV[2] then
  spent = redis.call('HGET', KEYS[3], 'spent')
end
local admitted = below(tonumber(spent or nil), ARGV[4])
  and below(requests, ARGV[5]) and below(tokens, ARGV[6])
if admitted then
  redis.call('HINCRBY', KEYS[1], second, 1)
  redis.call('EXPIRE', KEYS[1], {SPAN_S})
  requests = requests + 1
  if first_request == 0 then first_request = second end
  if second > last_request then last_request = second end
end
return {{admitted and 1 or 0, requests, first_request, last_request,
  tokens, first_token, last_token, spent or ''}}
"""

_SPEND = f"""
if ARGV[3] ~= '0' then
  redis.call('HINCRBY', KEYS[2], ARGV[1], ARGV[3])
  redis.call('EXPIRE', KEYS[2], {SPAN_S})
end
if redis.call('HGET', KEYS[3], 'period') ~= ARGV[2] then return '' end
redis.call('HINCRBY', KEYS[3], 'spent', ARGV[4])
return redis.call('HGET', KEYS[3], 'sum')
"""

_TAKE_BACK = """
local period, sum = unpack(redis.call('HMGET', KEYS[3], 'period', 'sum'))
if period == ARGV[1] and sum == ARGV[3] then
  redis.call('HINCRBY', KEYS[3], 'spent', -ARGV[2])
end
"""

_SETTLE = f"""
local known = redis.call('HGET', KEYS[3], 'period') == ARGV[1]
if not known or tonumber(redis.call('HGET', KEYS[3], 'spent')) < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[3], 'period', ARGV[1], 'spent', ARGV[2], 'sum', ARGV[3])
  redis.call('EXPIRE', KEYS[3], {_BUDGET_DAYS * 86400})
end
"""


class RedisCounters:
    """Counters in the Redis at ``url``. Raises ValueError if that is not a URL of one."""

    def __init__(self, url: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            # Whoever waits here is a request: there is something better to do than to try again.
            retry=Retry(NoBackoff(), 0),
        )
        self._redis: Redis = Redis.from_pool(pool)
        self._admit = self._redis.register_script(_ADMIT)
        self._spend = self._redis.register_script(_SPEND)
        self._take_back = self._redis.register_script(_TAKE_BACK)
        self._settle = self._redis.register_script(_SETTLE)
        self._settled: dict[str, int] = {}

    async def admit(self, counted: Counted, period: int, now: float) -> Standing:
        settled = self._settled.get(counted.id) == period
        limits = (counted.budget, counted.requests_per_minute, counted.tokens_per_minute)
        shown = ["" if limit is None else limit for limit in limits]
        answer = await self._run(self._admit, counted, [int(now), period, int(settled), *shown])
        return Standing(
            admitted=bool(answer[0]),
            requests=Window(*answer[1:4]),
            tokens=Window(*answer[4:7]),
            spent=int(answer[7]) if answer[7] else None,
        )

    async def spend(self, counted: Counted, tokens: int, cost: int, period: int, now: float) -> Sum:
        found = await self._run(self._spend, counted, [int(now), period, tokens, cost])
        return (found or b"").decode()

    async def take_back(self, counted: Counted, cost: int, period: int, from_: Sum) -> None:
        await self._run(self._take_back, counted, [period, cost, from_])

    async def settle(self, counted: Counted, period: int, spent: int) -> None:
        await self._run(self._settle, counted, [period, spent, token_hex(8)])
        self._settled[counted.id] = period

    def doubt(self) -> None:
        self._settled.clear()

    async def close(self) -> None:
        await self._redis.aclose()

    async def _run(self, script: Any, counted: Counted, arguments: Sequence[int | str]) -> Any:
        # In braces is what a cluster chooses the node by: all counts of a name must be on one.
        names = [f"protege:{{{counted.id}}}:{what}" for what in ("requests", "tokens", "budget")]
        try:
            return await script(keys=names, args=arguments)
        except (RedisError, OSError) as error:
            # The other idle connections are as dead, and each would fail in its turn.
            await self._redis.connection_pool.disconnect(inuse_connections=False)
            raise CountersLostError(str(error)) from error
