//! What nodes of a cluster say of slots, and who has one by that.
//!
//! Each node knows who claims which slot since which epoch. Of several claims the highest epoch holds, as among themselves: one that was cut
//! off has an older one. More than half of those that have slots *vouch* for a claim when they know it as well.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    address::{Address, Cluster, host_and_port},
    client::Broken,
    reply::{Reply, number},
};

/// A node, as one of them sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    id: String,
    at: Address,
    is_primary: bool,
    /// Nobody is to ask it: it fails, or was never met.
    is_gone: bool,
    /// It is taken for failed, by the one who says so or by most.
    is_failing: bool,
    epoch: u64,
    /// From the first to the last of each run.
    slots: Vec<(u16, u16)>,
    /// Slots that it is giving away, or being given: it says so of itself only.
    moving: BTreeSet<u16>,
}

/// All that one node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Who says it.
    by: String,
    members: Vec<Member>,
}

/// Who has a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// Where it is.
    pub(super) at: Address,
    /// Since when, in the order of changes.
    pub(super) epoch: u64,
    /// More than half of the primaries say so.
    pub(super) is_vouched: bool,
    /// And do not take it for failed: no other can have been put in its place lately.
    pub(super) is_steady: bool,
    /// Keys of it are on their way to another.
    pub(super) is_moving: bool,
}

/// What nodes of a cluster say together.
pub(super) struct Told {
    /// All primaries that are not gone.
    pub(super) primaries: BTreeSet<Address>,
    /// Who has each part, if anybody says so.
    pub(super) owners: Vec<Option<Owner>>,
}

impl Member {
    fn has(&self, slot: u16) -> bool {
        self.is_primary && self.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }
}

impl Word {
    /// Out of the answers of the node at `asked` to `CLUSTER NODES` and `CLUSTER SLOTS`.
    ///
    /// # Errors
    /// It refuses, is no node of a cluster, or says what is none.
    pub(super) fn read(cluster: &Cluster, asked: &Address, replies: Vec<Reply>) -> Result<Self, Broken> {
        let [nodes, slots] = <[Reply; 2]>::try_from(replies).map_err(|_| unread())?;
        let text = match nodes {
            Reply::Bytes(text) => text,
            Reply::Refused { word, text } if &*word == "NOAUTH" || &*word == "NOPERM" => {
                return Err(Broken::Refused(text.into()));
            }
            Reply::Refused { word, .. } if &*word == "ERR" => return Err(Broken::NoCluster),
            Reply::Refused { text, .. } => return Err(Broken::Away(text.into())),
            _ => return Err(unread()),
        };
        let reached = endpoints(asked, slots);
        let text = String::from_utf8_lossy(&text);
        let (mut by, mut members) = (None, Vec::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (member, is_itself) = member(cluster, asked, line, &reached).ok_or_else(unread)?;
            by = by.or_else(|| is_itself.then(|| member.id.clone()));
            members.push(member);
        }
        Ok(Self { by: by.ok_or_else(unread)?, members })
    }

    /// Who has a slot, by this one.
    fn owner(&self, slot: u16) -> Option<&Member> {
        self.members.iter().find(|member| member.has(slot))
    }
}

fn unread() -> Broken {
    Broken::Away("a node of the cluster says what cannot be read".to_owned())
}

/// How nodes are to be reached, by id, where that is said.
fn endpoints(asked: &Address, slots: Reply) -> BTreeMap<String, (String, u16)> {
    let mut reached = BTreeMap::new();
    for range in slots.many().unwrap_or_default() {
        for node in range.many().unwrap_or_default().into_iter().skip(2) {
            let mut parts = node.many().unwrap_or_default().into_iter();
            let (Some(host), Some(port), Some(id)) = (parts.next(), parts.next(), parts.next()) else { continue };
            // Where it does not know, it is where it was asked.
            let host = match host {
                Reply::Nil => asked.host().unwrap_or_default().to_owned(),
                host => text(host),
            };
            let port = port.number().ok().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
            if let Some(port) = port.filter(|_| !matches!(&*host, "" | "?")) {
                reached.insert(text(id), (host, port));
            }
        }
    }
    reached
}

fn text(reply: Reply) -> String {
    reply.bytes().map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// One line of `CLUSTER NODES`, and whether it is about who says it.
fn member(
    cluster: &Cluster,
    asked: &Address,
    line: &str,
    reached: &BTreeMap<String, (String, u16)>,
) -> Option<(Member, bool)> {
    let mut words = line.split(' ');
    let (id, address, flags) = (words.next()?, words.next()?, words.next()?);
    let epoch = number(words.nth(3)?.as_bytes()).ok()?;
    let (moving, slots): (Vec<&str>, Vec<&str>) = words.skip(1).partition(|word| word.starts_with('['));
    let slots = slots.into_iter().map(run).collect::<Option<Vec<_>>>()?;
    // `[7->-ID]` leaves, `[7-<-ID]` comes.
    let moves = |word: &str| word.strip_prefix('[')?.split_once('-')?.0.parse().ok();
    let moving = moving.into_iter().filter_map(moves).collect();
    let has = |flag: &str| flags.split(',').any(|one| one == flag);
    // Behind the port of the bus, and names.
    let (mut host, port) = host_and_port(address.split(['@', ',']).next()?)?;
    if host.is_empty() {
        asked.host()?.clone_into(&mut host);
    }
    let (host, port) = reached.get(id).cloned().unwrap_or((host, port));
    let member = Member {
        id: id.to_owned(),
        at: cluster.reached(&host, port),
        is_primary: has("master"),
        is_gone: has("fail") || has("noaddr") || has("handshake"),
        is_failing: has("fail") || has("fail?"),
        epoch: u64::try_from(epoch).ok()?,
        slots,
        moving,
    };
    Some((member, has("myself")))
}

/// Slots in a row: `7` or `7-9`.
fn run(word: &str) -> Option<(u16, u16)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// What they say together of these slots.
pub(super) fn together(words: &[Word], slots: impl Iterator<Item = u16>) -> Told {
    let claims = || words.iter().flat_map(|word| &word.members);
    let primaries = claims().filter(|member| member.is_primary && !member.is_gone).map(|member| member.at.clone());
    // Those whose vote counts: who has slots, by what is believed of all of them.
    let voters: BTreeSet<&str> = voters(words);
    let voices: BTreeMap<&str, &Word> =
        words.iter().filter(|word| voters.contains(&*word.by)).map(|word| (&*word.by, word)).collect();
    let most = voters.len() / 2 + 1;
    let owner = |slot: u16| {
        let member = claims().filter(|member| member.has(slot)).max_by_key(|member| member.epoch)?;
        let of_it = || voices.values().filter_map(|word| word.owner(slot)).filter(|one| one.id == member.id);
        let is_vouched = of_it().count() >= most;
        let is_steady = of_it().filter(|one| !one.is_failing).count() >= most && !of_it().any(|one| one.is_gone);
        let is_moving = claims().any(|member| member.moving.contains(&slot));
        Some(Owner { at: member.at.clone(), epoch: member.epoch, is_vouched, is_steady, is_moving })
    };
    Told { primaries: primaries.collect(), owners: slots.map(owner).collect() }
}

/// Of the words of nodes, so many of which were asked, those that are of one cluster with the nodes that were `known`: most of those that it
/// names were. An address may be another cluster's by now. Where none is, most of those asked have to be of another: then the cluster was made
/// anew.
pub(super) fn of_one(words: Vec<Word>, asked: usize, known: &mut BTreeSet<String>) -> Vec<Word> {
    let met = |word: &Word| word.members.iter().filter(|member| known.contains(&member.id)).count();
    let (ours, others): (Vec<Word>, Vec<Word>) = words.into_iter().partition(|word| 2 * met(word) > word.members.len());
    let believed = match (ours.is_empty(), known.is_empty() || 2 * others.len() > asked) {
        (false, _) => ours,
        (true, true) => others,
        (true, false) => return Vec::new(),
    };
    *known = believed.iter().flat_map(|word| &word.members).map(|member| member.id.clone()).collect();
    believed
}

/// Ids of nodes that have slots: by whoever knows of the latest change.
fn voters(words: &[Word]) -> BTreeSet<&str> {
    let latest = |word: &&Word| word.members.iter().map(|member| member.epoch).max();
    let newest = words.iter().max_by_key(latest);
    let all = newest.into_iter().flat_map(|word| &word.members);
    all.filter(|member| member.is_primary && !member.slots.is_empty()).map(|member| &*member.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: u16 = 100;

    fn address(port: u16) -> Address {
        Address::Tcp { host: "h".into(), port }
    }

    fn cluster() -> Cluster {
        Cluster { at: vec![address(1)], elsewhere: BTreeMap::new() }
    }

    fn bytes(text: &str) -> Reply {
        Reply::Bytes(text.as_bytes().to_vec())
    }

    fn read(text: &str, slots: Reply) -> Result<Word, Broken> {
        Word::read(&cluster(), &address(1), vec![bytes(text), slots])
    }

    /// What node `by` says of three primaries and a replica; the first has the slot unless the fourth has taken it over.
    fn says(by: u16, first: (&str, u64), fourth: Option<u64>) -> Word {
        let (flags, epoch) = first;
        let line = |id: u16, flags: &str, epoch: u64, slots: &str| {
            let myself = if id == by { "myself," } else { "" };
            format!("n{id} h:{id}@1{id},host {myself}{flags} - 0 0 {epoch} connected{slots}\n")
        };
        let (mine, theirs) = if fourth.is_some() { ("", " 0-200 [7->-n1]") } else { (" 0-100 102-200", "") };
        let taken = if fourth.is_some() { "master" } else { "slave" };
        let text = [
            line(1, flags, epoch, mine),
            line(2, "master", 2, " 201-300"),
            line(3, "master", 3, " 301"),
            line(4, taken, fourth.unwrap_or(1), theirs),
        ];
        read(&text.concat(), Reply::Nil).expect("it reads")
    }

    fn told(words: &[Word]) -> Owner {
        together(words, [SLOT].into_iter()).owners.pop().flatten().expect("it is somebody's")
    }

    fn owner(port: u16, epoch: u64, is_vouched: bool, is_steady: bool) -> Owner {
        Owner { at: address(port), epoch, is_vouched, is_steady, is_moving: false }
    }

    /// I1: the latest claim holds; and steady is who most primaries name, and do not take for failed.
    #[test]
    fn the_latest_claim_holds() {
        let well = |by| says(by, ("master", 1), None);
        assert_eq!(told(&[well(1), well(2), well(3)]), owner(1, 1, true, true));
        assert_eq!(told(&[well(1), well(2)]), owner(1, 1, true, true), "one is silent");
        assert_eq!(told(&[well(1)]), owner(1, 1, false, false), "it alone says so");
        assert_eq!(told(&[well(1), well(4)]), owner(1, 1, false, false), "a replica has no vote");
        let doubts = |by| says(by, ("master,fail?", 1), None);
        assert_eq!(told(&[well(1), well(2), doubts(3)]), owner(1, 1, true, true));
        assert_eq!(told(&[well(1), doubts(2), doubts(3)]), owner(1, 1, true, false));
        let failed = |by| says(by, ("master,fail", 1), None);
        assert_eq!(told(&[well(1), well(2), failed(3)]), owner(1, 1, true, false), "its replica may be elected by now");
        let after = |by| says(by, ("master,fail", 1), Some(4));
        assert_eq!(told(&[well(1), well(2), after(3)]), owner(4, 4, false, false), "the first to hear of it");
        assert_eq!(told(&[well(1), after(2), after(3)]), owner(4, 4, true, true), "the one before is cut off");
        assert_eq!(together(&[well(1)], [101, 9_999].into_iter()).owners, [None, None], "nobody has them");
    }

    /// I1: an address may be that of a node of another cluster by now, which is not believed, whatever its epoch; nor where it alone answers.
    #[test]
    fn a_node_of_another_cluster_is_not_believed() {
        let well = |by| says(by, ("master", 1), None);
        let other = || read("m1 h:9@19 myself,master - 0 0 99 connected 0-16383\n", Reply::Nil).expect("it reads");
        let mut known = BTreeSet::new();
        assert_eq!(of_one(vec![well(1), well(2)], 3, &mut known).len(), 2, "whom nobody knows yet is believed");
        assert_eq!(known.len(), 4);
        assert_eq!(of_one(vec![well(1), other(), well(3)], 3, &mut known), [well(1), well(3)]);
        assert_eq!(of_one(vec![other()], 3, &mut known), [], "the others are silent");
        assert_eq!(known.len(), 4);
        assert_eq!(of_one(vec![other(), other()], 3, &mut known).len(), 2, "all was made anew");
        assert_eq!(of_one(vec![well(1), other()], 3, &mut known), [other()]);
    }

    /// A slot whose keys are on their way is named by those who give and take it.
    #[test]
    fn a_slot_on_its_way_is_known() {
        let said = |moves: &str| {
            let line = format!("n1 h:1@2 myself,master - 0 0 1 connected 100{moves}\n");
            told(&[read(&line, Reply::Nil).expect("it reads")]).is_moving
        };
        assert!(said(" [100->-n2]") && said(" [7-<-n2] [100-<-n2]"));
        assert!(!said(" [101->-n2]") && !said(" [x]") && !said(""));
    }

    /// Primaries that have no slot are known, too: slots may be on their way there. Those that failed are not asked.
    #[test]
    fn primaries_are_known() {
        let primaries = together(&[says(3, ("master,fail", 1), Some(4))], std::iter::empty()).primaries;
        assert_eq!(primaries, [2, 3, 4].map(address).into());
    }

    /// Nodes are reached where `CLUSTER SLOTS` says, by the name that is preferred there, or where the map says.
    #[test]
    fn a_node_is_reached_by_the_name_it_prefers() {
        let line = "n1 10.0.0.1:6379@1,host myself,master - 0 0 1 connected 100\n";
        let slots = |host: Reply| {
            let node = Reply::Many(vec![host, Reply::Number(7), bytes("n1"), Reply::Nil]);
            Reply::Many(vec![Reply::Many(vec![Reply::Number(100), Reply::Number(100), node])])
        };
        let at = |slots| told(&[read(line, slots).expect("it reads")]).at;
        let tcp = |host: &str, port| Address::Tcp { host: host.into(), port };
        assert_eq!(at(slots(bytes("name"))), tcp("name", 7));
        assert_eq!(at(slots(Reply::Nil)), tcp("h", 7), "as it was asked");
        assert_eq!(at(slots(bytes("?"))), tcp("10.0.0.1", 6379), "it has no name");
        assert_eq!(at(Reply::Nil), tcp("10.0.0.1", 6379));
        let elsewhere = [("name:7".to_owned(), "out:8".to_owned())].into();
        let mapped =
            Word::read(&Cluster { elsewhere, ..cluster() }, &address(1), vec![bytes(line), slots(bytes("name"))]);
        assert_eq!(told(&[mapped.expect("it reads")]).at, tcp("out", 8));
    }

    /// Hostile bytes: whatever a node says, it names nodes or nothing.
    #[test]
    fn what_is_no_word_of_a_cluster_names_nobody() {
        for text in [
            "",
            "n1",
            "n1 h:1@2 myself,master - 0 0 x connected 1",
            "n1 h:1@2 myself,master - 0 0 -1 connected 1",
            "n1 h:99999@2 myself,master - 0 0 1 connected 1",
            "n1 h:1@2 myself,master - 0 0 1 connected 1-x",
            "n1 h:1@2 myself,master - 0 0 1 connected 70000",
            "n1 h:1@2 master - 0 0 1 connected 1",
            "\u{0}",
        ] {
            assert!(matches!(read(text, Reply::Nil), Err(Broken::Away(_))), "{text}");
        }
        let refused = |word: &str| Reply::Refused { word: word.into(), text: word.into() };
        let answers = |first| Word::read(&cluster(), &address(1), vec![first, Reply::Nil]);
        assert_eq!(answers(refused("ERR")), Err(Broken::NoCluster));
        assert!(matches!(answers(refused("NOPERM")), Err(Broken::Refused(_))));
        assert!(matches!(answers(refused("LOADING")), Err(Broken::Away(_))));
        assert!(matches!(answers(Reply::Number(1)), Err(Broken::Away(_))));
        assert!(matches!(Word::read(&cluster(), &address(1), vec![]), Err(Broken::Away(_))));
    }
}
