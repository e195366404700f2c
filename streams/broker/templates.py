"""The broker's configuration files: `server.properties` and `log4j2.xml`, written anew at each start."""

from streams.broker.ports import HOST

# Paths are relative to the folder `kafka`, where the broker runs: an absolute path may hold characters that a properties file, or
# a list in it, cannot.
SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={data}

auto.create.topics.enable=false
num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# As long as the longest retention of a topic, so that a role that was away does not lose its position.
offsets.retention.minutes=43200

offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

# No other node follows the metadata, so no heartbeat record on the disk twice a second.
metadata.max.idle.interval.ms=0
metadata.log.segment.bytes=8388608
metadata.max.retention.bytes=16777216

# A broker that was killed can register again only when its former session has ended: after 9 s by default.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500

num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=2
log.cleaner.threads=1
# Enough for half a million keys of one partition in one pass; Kafka's own 128 MiB would be a quarter of the heap.
log.cleaner.dedupe.buffer.size=16777216
# Each partition's two index files get this size at once when it has 4 KiB of records. With Kafka's own 10 MiB that took 20 ms of
# processor time. A segment whose index is full, at 128 MiB, is followed by the next.
log.index.size.max.bytes=262144
# A deleted topic gives its disk space back at once.
log.segment.delete.delay.ms=1000
"""

LOG4J2 = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
  <Appenders>
    <RollingFile name="file" fileName="logs/server.log" filePattern="logs/server.%i.log">
      <PatternLayout pattern="%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5p %m (%c{1})%n"/>
      <SizeBasedTriggeringPolicy size="2 MB"/>
      <DefaultRolloverStrategy max="2"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Root level="INFO"><AppenderRef ref="file"/></Root>
    <Logger name="state.change.logger" level="WARN"/>
    <Logger name="org.apache.kafka.common.config" level="WARN"/>
    <Logger name="kafka.server.KafkaConfig" level="WARN"/>
  </Loggers>
</Configuration>
"""


def server_properties(data: str, *, port: int, controller_port: int) -> str:
    """`server.properties` of a node that keeps its data in `data`, relative to the folder where the broker runs."""
    return SERVER_PROPERTIES.format(host=HOST, port=port, controller_port=controller_port, data=data)
