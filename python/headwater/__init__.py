"""headwater: a durable Kafka-format log and the Kafka Streams DSL in one Python process."""
