//! One index of another project, driven by peers.bench.ts with the events of a workload file (fleet-workload.ts).
//!
//!     peers PEER FILE      PEER: smg-chain │ dynamo-crtc │ dynamo-radix
//!
//!     standard input                       standard output, a line each
//!     play FROM TO [singly]                nanoseconds of CPU time: hash tokens, make events, apply them
//!     holes EVERY │ refill EVERY           0; every so many blocks are removed by all holders, or stored again
//!     ask BLOCK COUNT                      worker:blocks … of the prompt that ends with this block, sorted
//!     memory                               resident bytes of the process
//!     fleet WORKERS BLOCKS                 0; an index of its own, in which all workers hold one prompt
//!     find tokens│hashes BLOCKS TIMES      nanoseconds of CPU time for a lookup there
//!
//! Events are made inside of the measured time, because a caller of these crates has to make them. The tokens are there
//! before, as they are for ours. A peer that refuses an event goes on without it: its answers show that. Time is the CPU time of this thread, and that of the peer's own thread where it has one.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::thread;

use dynamo_kv_router::indexer::WorkerTask;
use dynamo_kv_router::protocols::{
    BlockHashOptions, ExternalSequenceBlockHash, KvCacheEvent, KvCacheEventData, KvCacheRemoveData, KvCacheStoreData,
    KvCacheStoredBlockData,
};
use dynamo_kv_router::{
    ConcurrentRadixTreeCompressed, LocalBlockHash, RadixTree, RouterEvent, SyncIndexer,
    compute_block_hash_for_seq,
};
use kv_index::{ChainBlockMap, ChainIndex, ContentHash, SequenceHash, StoredBlock, compute_request_content_hashes};

const BLOCK_SIZE: usize = 16;
const NO_PARENT: u32 = 0;

/// An index, as the driver needs it.
trait Peer {
    fn query(&self, tokens: &[u32]) -> Query;
    fn store(&mut self, worker: u32, parent: Option<u64>, names: &[u64], hashes: &Query);
    fn remove(&mut self, worker: u32, names: &[u64]);
    /// All events are applied when it returns.
    fn settle(&mut self) {}
    /// CPU time of threads of its own, in nanoseconds.
    fn own_time(&self) -> u64 {
        0
    }
    fn find(&self, query: &Query) -> Vec<(u32, u32)>;
}

/// The hashes of a prompt's blocks, in the peer's own type: no peer pays for a conversion.
enum Query {
    Smg(Vec<ContentHash>),
    Dynamo(Vec<LocalBlockHash>),
}

impl Query {
    fn smg(&self) -> &[ContentHash] {
        let Query::Smg(hashes) = self else { panic!("the query is of another peer") };
        hashes
    }

    fn dynamo(&self) -> &[LocalBlockHash] {
        let Query::Dynamo(hashes) = self else { panic!("the query is of another peer") };
        hashes
    }
}

struct Chain {
    index: ChainIndex,
    workers: Vec<(u32, ChainBlockMap)>,
    /// Workers by the index's own number for them.
    worker_of: Vec<u32>,
}

impl Chain {
    fn new(workers: u32) -> Self {
        let index = ChainIndex::with_max_workers(workers as usize);
        let workers: Vec<(u32, ChainBlockMap)> = (0..workers)
            .map(|worker| (index.intern_worker(&worker.to_string()).expect("there is room"), ChainBlockMap::new()))
            .collect();
        let mut worker_of = vec![0; workers.iter().map(|(id, _)| *id as usize + 1).max().unwrap_or(0)];
        workers.iter().zip(0..).for_each(|((id, _), worker)| worker_of[*id as usize] = worker);
        Chain { index, workers, worker_of }
    }
}

impl Peer for Chain {
    fn query(&self, tokens: &[u32]) -> Query {
        Query::Smg(compute_request_content_hashes(tokens, BLOCK_SIZE))
    }

    fn store(&mut self, worker: u32, parent: Option<u64>, names: &[u64], hashes: &Query) {
        let blocks: Vec<StoredBlock> = names
            .iter()
            .zip(hashes.smg())
            .map(|(&name, &hash)| StoredBlock { seq_hash: SequenceHash(name), content_hash: hash })
            .collect();
        let (id, map) = &mut self.workers[worker as usize];
        let _ = self.index.apply_stored(*id, &blocks, parent.map(SequenceHash), map);
    }

    fn remove(&mut self, worker: u32, names: &[u64]) {
        let names: Vec<SequenceHash> = names.iter().map(|&name| SequenceHash(name)).collect();
        let (id, map) = &mut self.workers[worker as usize];
        self.index.apply_removed(*id, &names, map);
    }

    fn find(&self, query: &Query) -> Vec<(u32, u32)> {
        let mut found = Vec::new();
        let report = |id: u32, blocks| found.push((self.worker_of[id as usize], blocks));
        self.index.score_into(query.smg(), |hash| hash.0, false, report);
        found
    }
}

/// Dynamo hashes blocks alike for all of its indexes.
fn dynamo_query(tokens: &[u32]) -> Query {
    let options = BlockHashOptions { block_mm_infos: None, lora_name: None, cache_namespace: None, is_eagle: None };
    Query::Dynamo(compute_block_hash_for_seq(tokens, BLOCK_SIZE as u32, options))
}

fn stored(worker: u32, id: u64, parent: Option<u64>, names: &[u64], hashes: &Query) -> RouterEvent {
    let blocks = names
        .iter()
        .zip(hashes.dynamo())
        .map(|(&name, &hash)| KvCacheStoredBlockData {
            block_hash: ExternalSequenceBlockHash(name),
            tokens_hash: hash,
            mm_extra_info: None,
        })
        .collect();
    let parent_hash = parent.map(ExternalSequenceBlockHash);
    let data = KvCacheEventData::Stored(KvCacheStoreData { parent_hash, start_position: None, blocks });
    RouterEvent::new(u64::from(worker), KvCacheEvent { event_id: id, data, dp_rank: 0 })
}

fn removed(worker: u32, id: u64, names: &[u64]) -> RouterEvent {
    let block_hashes = names.iter().map(|&name| ExternalSequenceBlockHash(name)).collect();
    let data = KvCacheEventData::Removed(KvCacheRemoveData { block_hashes });
    RouterEvent::new(u64::from(worker), KvCacheEvent { event_id: id, data, dp_rank: 0 })
}

struct Radix {
    index: RadixTree,
    events: u64,
}

impl Peer for Radix {
    fn query(&self, tokens: &[u32]) -> Query {
        dynamo_query(tokens)
    }

    fn store(&mut self, worker: u32, parent: Option<u64>, names: &[u64], hashes: &Query) {
        self.events += 1;
        let _ = self.index.apply_event(stored(worker, self.events, parent, names, hashes));
    }

    fn remove(&mut self, worker: u32, names: &[u64]) {
        self.events += 1;
        let _ = self.index.apply_event(removed(worker, self.events, names));
    }

    fn find(&self, query: &Query) -> Vec<(u32, u32)> {
        let scores = self.index.find_matches(query.dynamo().to_vec(), false).scores;
        scores.into_iter().map(|(worker, blocks)| (worker.worker_id as u32, blocks)).collect()
    }
}

/// An index that is written by a thread of its own, which is given events over a channel.
struct Threaded<I: SyncIndexer> {
    index: Arc<I>,
    channel: flume::Sender<WorkerTask>,
    clock: libc::clockid_t,
    events: u64,
}

impl<I: SyncIndexer> Threaded<I> {
    fn new(index: I) -> Self {
        let index = Arc::new(index);
        let (channel, receiver) = flume::unbounded();
        let own = Arc::clone(&index);
        let (say, hear) = flume::bounded(1);
        thread::spawn(move || {
            let mut clock = 0;
            // SAFETY: the thread is this one, and the clock is a place to write to.
            unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
            say.send(clock).expect("the driver waits");
            own.worker(receiver, None).expect("the peer's thread does not fail");
        });
        let clock = hear.recv().expect("the thread has begun");
        Threaded { index, channel, clock, events: 0 }
    }
}

impl<I: SyncIndexer> Peer for Threaded<I> {
    fn query(&self, tokens: &[u32]) -> Query {
        dynamo_query(tokens)
    }

    fn store(&mut self, worker: u32, parent: Option<u64>, names: &[u64], hashes: &Query) {
        self.events += 1;
        let task = WorkerTask::Event(stored(worker, self.events, parent, names, hashes));
        self.channel.send(task).expect("the peer's thread runs");
    }

    fn remove(&mut self, worker: u32, names: &[u64]) {
        self.events += 1;
        let task = WorkerTask::Event(removed(worker, self.events, names));
        self.channel.send(task).expect("the peer's thread runs");
    }

    fn settle(&mut self) {
        let (say, hear) = tokio::sync::oneshot::channel();
        self.channel.send(WorkerTask::Flush(say)).expect("the peer's thread runs");
        hear.blocking_recv().expect("the peer's thread answers");
    }

    fn own_time(&self) -> u64 {
        time_of(self.clock)
    }

    fn find(&self, query: &Query) -> Vec<(u32, u32)> {
        let scores = self.index.find_matches(query.dynamo(), false).scores;
        scores.into_iter().map(|(worker, blocks)| (worker.worker_id as u32, blocks)).collect()
    }
}

fn time_of(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is a place to write to.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn peer_of(name: &str, workers: u32) -> Box<dyn Peer> {
    match name {
        "smg-chain" => Box::new(Chain::new(workers)),
        "dynamo-radix" => Box::new(Radix { index: RadixTree::new(), events: 0 }),
        "dynamo-crtc" => Box::new(Threaded::new(ConcurrentRadixTreeCompressed::new())),
        other => panic!("peer {other}: expected smg-chain, dynamo-crtc or dynamo-radix"),
    }
}

/// The name that an engine gives a block.
fn name_of(block: u32) -> u64 {
    let low = (block + 1).wrapping_mul(0x9e37_79b1) ^ 0x85eb_ca6b;
    let n = (block ^ block >> 15).wrapping_add(0x7f4a_7c15).wrapping_mul(0xc2b2_ae35);
    u64::from(n ^ n >> 13) << 32 | u64::from(low)
}

fn write_tokens(tokens: &mut Vec<u32>, block: u32) {
    for i in 0..BLOCK_SIZE as u32 {
        let m = (block.wrapping_mul(BLOCK_SIZE as u32) + i + 1).wrapping_mul(0x9e37_79b1);
        tokens.push((m ^ m >> 15) & 0x1_ffff);
    }
}

#[derive(Clone, Copy)]
struct Event {
    first: u32,
    count: u32,
    parent: u32,
    flags: u32,
}

impl Event {
    fn worker(&self) -> u32 {
        self.flags & 0xffff
    }
}

struct Workload {
    workers: u32,
    stores: usize,
    events: Vec<Event>,
    /// Of each block: the block before it + 1, 0 at the root.
    parents: Vec<u32>,
}

fn read_workload(file: &str) -> Workload {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let words: Vec<u32> = bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
    assert!(words.len() > 8 && words[0] == 0x4c57_564b && words[1] == 1, "{file}: expected a workload, version 1");
    let events: Vec<Event> = words[8..]
        .chunks_exact(4)
        .map(|event| Event { first: event[0], count: event[1], parent: event[2], flags: event[3] })
        .collect();
    let stores = words[5] as usize;
    let mut parents = vec![NO_PARENT; words[4] as usize];
    for event in &events[..stores] {
        parents[event.first as usize] = event.parent;
        for block in event.first + 1..event.first + event.count {
            parents[block as usize] = block;
        }
    }
    Workload { workers: words[2], stores, events, parents }
}

/// Blocks and tokens of an event; those of a store are hashed when it is played.
struct Prepared {
    event: Event,
    is_store: bool,
    names: Vec<u64>,
    tokens: Vec<u32>,
}

fn prepare(workload: &Workload, at: usize) -> Prepared {
    let event = workload.events[at];
    let is_store = at < workload.stores;
    let mut names: Vec<u64> = (event.first..event.first + event.count).map(name_of).collect();
    let mut tokens = Vec::new();
    if is_store {
        (event.first..event.first + event.count).for_each(|block| write_tokens(&mut tokens, block));
    } else {
        names.reverse();
    }
    Prepared { event, is_store, names, tokens }
}

fn parent_name(parent: u32) -> Option<u64> {
    if parent == NO_PARENT { None } else { Some(name_of(parent - 1)) }
}

fn play(peer: &mut dyn Peer, workload: &Workload, from: usize, to: usize, singly: bool) -> u64 {
    let prepared: Vec<Prepared> = (from..to).map(|at| prepare(workload, at)).collect();
    let (start, own) = (time_of(libc::CLOCK_THREAD_CPUTIME_ID), peer.own_time());
    for Prepared { event, is_store, names, tokens } in &prepared {
        if *is_store {
            let hashes = peer.query(tokens);
            peer.store(event.worker(), parent_name(event.parent), names, &hashes);
        } else if singly {
            names.iter().for_each(|name| peer.remove(event.worker(), std::slice::from_ref(name)));
        } else {
            peer.remove(event.worker(), names);
        }
    }
    peer.settle();
    time_of(libc::CLOCK_THREAD_CPUTIME_ID) - start + peer.own_time() - own
}

/// Removes every so many blocks of each store, or stores them again.
fn punch(peer: &mut dyn Peer, workload: &Workload, every: u32, is_refill: bool) {
    let mut tokens = Vec::new();
    for event in &workload.events[..workload.stores] {
        for block in (event.first..event.first + event.count).filter(|block| block % every == 0) {
            if !is_refill {
                peer.remove(event.worker(), &[name_of(block)]);
                continue;
            }
            tokens.clear();
            write_tokens(&mut tokens, block);
            let hashes = peer.query(&tokens);
            peer.store(event.worker(), parent_name(workload.parents[block as usize]), &[name_of(block)], &hashes);
        }
    }
    peer.settle();
}

fn prompt(workload: &Workload, last: u32) -> Vec<u32> {
    let mut blocks = vec![last];
    while let Some(&block) = blocks.last()
        && workload.parents[block as usize] != NO_PARENT
    {
        blocks.push(workload.parents[block as usize] - 1);
    }
    blocks.reverse();
    let mut tokens = Vec::new();
    blocks.into_iter().for_each(|block| write_tokens(&mut tokens, block));
    tokens
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("statm has pages");
    pages * 4096
}

/// All workers hold one prompt; lookups of its beginnings.
struct Fleet {
    peer: Box<dyn Peer>,
    tokens: Vec<u32>,
    workers: usize,
}

fn fleet_of(name: &str, workers: u32, blocks: u32) -> Fleet {
    const RUN: u32 = 64;
    let mut peer = peer_of(name, workers);
    let mut tokens = Vec::new();
    (0..blocks).for_each(|block| write_tokens(&mut tokens, block));
    for worker in 0..workers {
        for first in (0..blocks).step_by(RUN as usize) {
            let names: Vec<u64> = (first..first + RUN).map(name_of).collect();
            let from = first as usize * BLOCK_SIZE;
            let hashes = peer.query(&tokens[from..from + RUN as usize * BLOCK_SIZE]);
            peer.store(worker, parent_name(first), &names, &hashes);
        }
    }
    peer.settle();
    Fleet { peer, tokens, workers: workers as usize }
}

fn find(fleet: &Fleet, by: &str, blocks: usize, times: u64) -> u64 {
    let tokens = &fleet.tokens[..blocks * BLOCK_SIZE];
    let hashes = fleet.peer.query(tokens);
    let start = time_of(libc::CLOCK_THREAD_CPUTIME_ID);
    for _ in 0..times {
        let found = if by == "tokens" { fleet.peer.find(&fleet.peer.query(tokens)) } else { fleet.peer.find(&hashes) };
        assert_eq!(found.len(), fleet.workers, "every worker holds the prompt");
    }
    (time_of(libc::CLOCK_THREAD_CPUTIME_ID) - start) / times
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, name, file] = arguments.as_slice() else { panic!("expected: peers PEER FILE") };
    let workload = read_workload(file);
    let mut peer = peer_of(name, workload.workers);
    let mut fleet: Option<Fleet> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input is text");
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<usize>().unwrap_or_else(|_| panic!("{line}: expected a number"));
        let answer = match words[0] {
            "play" => play(peer.as_mut(), &workload, number(1), number(2), words.get(3) == Some(&"singly")).to_string(),
            "holes" | "refill" => {
                punch(peer.as_mut(), &workload, number(1) as u32, words[0] == "refill");
                "0".into()
            }
            "ask" => {
                let mut found = peer.find(&peer.query(&prompt(&workload, number(1) as u32)));
                found.sort_unstable();
                found.iter().map(|(worker, blocks)| format!("{worker}:{blocks}")).collect::<Vec<_>>().join(" ")
            }
            "memory" => resident_bytes().to_string(),
            "fleet" => {
                fleet = Some(fleet_of(name, number(1) as u32, number(2) as u32));
                "0".into()
            }
            "find" => find(fleet.as_ref().expect("fleet comes first"), words[1], number(2), number(3) as u64).to_string(),
            other => panic!("{other}: expected a command of the head of this file"),
        };
        println!("{answer}");
        std::io::stdout().flush().expect("the driver reads");
    }
}
