"""What brokers' answers mean for a delivery. The client is `consumers.kafka.writing`'s; aiokafka's errors are matched in
`notifier.kafka.cluster`.

answer                                       reason             then
acknowledged by all replicas in sync         ok
sign-in refused, mechanism not offered       unauthorized       the consumer is held, and tried again by the schedule
no right to write to the topic or cluster    forbidden          given up
no such topic                                not_found          asked for some seconds, then given up
the name of a topic that Kafka refuses       not_found          given up
the record is larger than the topic takes    invalid_content    given up
a refused value, no key for a compacted one  invalid_content    given up
no address that may be reached               forbidden          given up, see `notifier.network`
no connection, no TLS, no broker             connection         tried again
the broker is at its quota                   rate_limited       tried again by the schedule
no answer, or a broken connection, once sent timeout            unknown: it may have been written; tried again
any other error that Kafka calls retriable   server_error       tried again
any other error                              server_error       tried again

A record that is refused takes those with it that are in its batch, so each of them is written again alone. In a topic's partition
they then come after those that were written with them.

A client that writes again what it is not sure of writes it once (idempotence), as long as it lives; a try of another worker, or
after the client was closed, may write it a second time, with the same `notifier-delivery` in its headers.
"""
