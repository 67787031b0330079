// Package sim runs the whole pipeline in simulated time: the services as the
// commands build them, a NATS server from nats.conf, the AWS stand-in and a sign-in
// provider, all in one [testing/synctest] bubble, where days pass in a second. Users
// upgrade at the site, with a browser's cookies and forms.
//
// What a service does to the world leaves it through one of its doors: the HTTP
// transport of the AWS SDK, the connection to NATS, and web's client of the sign-in
// provider. They are ours here, so every effect passes a fault point, and none can be
// forgotten: a point is named after what goes through the door, not by whoever wrote
// the code.
//
// A point that fires breaks the effect in one of four modes: the process dies
// before it or after it, or lives and sees an error although it took effect, or
// because it did not. A process that died is started again, as its supervisor
// would do. In the end a checker that knows nothing of the services compares what
// is in S3, Glacier, DynamoDB and JetStream with what was there in the beginning.
package sim
