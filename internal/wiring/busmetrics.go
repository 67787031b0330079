package wiring

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/pkg/events"
)

// busMetrics describe a connection to NATS.
func busMetrics(user string, b *bus.Bus) []prometheus.Collector {
	labels := prometheus.Labels{"user": user}
	gauge := func(name, help string, ok func() bool) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 {
			if ok() {
				return 1
			}
			return 0
		})
	}
	return []prometheus.Collector{
		gauge("gas_nats_connected", "1 while the service is connected to NATS as the user.",
			func() bool { return b.Conn.Status() == nats.CONNECTED }),
		gauge("gas_nats_storing", "0 while NATS cannot be reached, or JetStream stores nothing of the user.",
			func() bool { return b.Ready(context.Background()) == nil }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "gas_nats_reconnects_total", Help: "Connections to NATS after the first one.", ConstLabels: labels},
			func() float64 { return float64(b.Conn.Stats().Reconnects) }),
	}
}

// backlogStreams are the streams that the user sweep may read.
var backlogStreams = []string{events.StreamPremium, events.StreamThaw, events.StreamRestore, events.StreamDead}

// backlogs describes the streams, as the server does at the time of the scrape. While the
// server does not answer, it repeats the last answer: the oldest message gets older.
type backlogs struct {
	bus *bus.Bus
	now func() time.Time

	mu   sync.Mutex // guards last
	last map[string]bus.Backlog
}

var (
	backlogMessages = prometheus.NewDesc("gas_stream_messages", "Messages in the stream.", []string{"stream"}, nil)
	backlogAge      = prometheus.NewDesc("gas_stream_oldest_message_age_seconds", "Age of the oldest message in the stream; 0 if there is none.", []string{"stream"}, nil)
)

// backlogTime bounds the time of a scrape that asks the server.
const backlogTime = 2 * time.Second

func (b *backlogs) Describe(ch chan<- *prometheus.Desc) { ch <- backlogMessages; ch <- backlogAge }

func (b *backlogs) Collect(ch chan<- prometheus.Metric) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bus.Conn.Status() == nats.CONNECTED {
		ctx, cancel := context.WithTimeout(context.Background(), backlogTime)
		defer cancel()
		now, _ := b.bus.Backlogs(ctx, backlogStreams...) // the metrics of the connection tell why
		for name, backlog := range now {
			if b.last == nil {
				b.last = map[string]bus.Backlog{}
			}
			b.last[name] = backlog
		}
	}
	for _, name := range backlogStreams {
		age := 0.0
		if at := b.last[name].OldestAt; !at.IsZero() {
			age = max(b.now().Sub(at).Seconds(), 0)
		}
		ch <- prometheus.MustNewConstMetric(backlogMessages, prometheus.GaugeValue, float64(b.last[name].Messages), name)
		ch <- prometheus.MustNewConstMetric(backlogAge, prometheus.GaugeValue, age, name)
	}
}
