// Package archive keeps the history of the streams in files, because producers trim the streams. It keeps entries
// and never knows what they mean: plans, decisions and observations are three kinds of stream and no more.
//
// An archive is a directory. Each stream has a chain of segments, files named after the kind and the ID of the first entry
// ("plans-1700000000000-0.jsonl.zst"), so that the list of the directory is the only index there is and cannot disagree
// with what is inside. A segment is JSON Lines, one entry a line, in zstd frames; `zstdcat` reads it.
//
// What is guaranteed:
//
//   - An entry is kept byte for byte: ID, fields, their order, repeated names, values that are not UTF-8.
//   - The position of a follower is the last complete line on disk. After a crash a torn frame at the end is cut off and
//     reading resumes behind it: no gap and no entry twice.
//   - A frame is written in one piece and synchronized before the next one; what was written is never changed.
//   - What the stream no longer had when the follower came is said in the archive, as a gap.
//   - One writer to a directory; any number of readers, also beside the writer.
//   - Following only reads: no group, no key, no write to Redis.
//   - Readers hold two frames in memory, however long the archive is.
package archive
