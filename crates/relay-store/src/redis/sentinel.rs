//! What sentinels say of the primary.
//!
//! Each of those that are configured is asked once a second, at once where there is doubt, and when one of them says that it has
//! changed (`+switch-master`, a hint that is never needed). More than half of all have to name the same node.
//!
//! They can also say that it is *steady*: more than half of them hear it themselves, and none of them knows of a failover under way. Only
//! then fewer replicas may be waited for than before (`following`): a primary that most sentinels do not hear may have a successor by now.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::{
    address::{Address, Deployment, Login, Sentinels},
    client::{Broken, Command, Ear, Link},
    nodes::Nodes,
    primary::{Primary, Verdict},
    reply::{Reply, number},
};

/// How often they are asked.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// And not more often than this, whatever is in doubt.
const ASK_APART: Duration = Duration::from_millis(100);
/// One that takes longer is one that does not answer: the others are not kept waiting.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// A sentinel that has not heard the primary for so long does not speak for it.
const HEARD_WITHIN: Duration = Duration::from_secs(5);
/// Where one is not heard, it is tried again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// What they say when there is another primary.
const SWITCHED: &[u8] = b"+switch-master";

/// What one of them says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    /// Where the primary is, as a host and a port.
    names: (String, u16),
    /// It hears that one itself, and is not about to put another one in its place.
    speaks_for_it: bool,
    /// It is about to.
    is_failing_over: bool,
}

/// Why one of them says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Silent {
    /// It knows no primary of that name.
    Unknowing,
    /// It does not answer, or refuses.
    Broken(Broken),
}

/// Asks them, as long as somebody wants to know.
pub(super) async fn follow(primary: Weak<Primary>) {
    let mut links: Vec<Option<Link>> = Vec::new();
    while let Some(known) = primary.upgrade() {
        let Deployment::Sentinel(sentinels) = known.deployment() else { return };
        links.resize_with(sentinels.at.len(), || None);
        let began = Instant::now();
        let asked = sentinels.at.iter().zip(&mut links).map(|(at, link)| ask(sentinels, at, link));
        known.told(began, verdict(sentinels, &join_all(asked).await));
        let doubted = known.doubted();
        drop(known);
        sleep(ASK_APART).await;
        // Cancel safety: a doubt that is not waited for stays.
        let _ = timeout(ASK_EVERY, doubted.notified()).await;
    }
}

/// Listens to one of them, as long as somebody wants to know.
pub(super) async fn listen(primary: Weak<Primary>, at: Address, login: Login) {
    while primary.strong_count() > 0 {
        if let Ok(mut ear) = Ear::open(&at, &login, ANSWERS_WITHIN, SWITCHED).await {
            while let Some(word) = heard(&mut ear).await {
                let Some(known) = primary.upgrade() else { return };
                if word.is_some() {
                    known.doubt();
                }
            }
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// Begins to follow what they say, and to listen to each.
pub(super) fn begin(nodes: &Nodes) {
    let Deployment::Sentinel(sentinels) = &nodes.shared().options.address else { return };
    for (node, _) in nodes.owners() {
        tokio::spawn(follow(Arc::downgrade(&node.primary)));
        for at in &sentinels.at {
            tokio::spawn(listen(Arc::downgrade(&node.primary), at.clone(), sentinels.login.clone()));
        }
    }
}

/// What was said, if anything was for a while; nothing: the connection is gone.
async fn heard(ear: &mut Ear) -> Option<Option<String>> {
    match timeout(AGAIN_AFTER, ear.hears()).await {
        Ok(word) => word.map(Some),
        Err(_) => Some(None),
    }
}

/// Asks one of them, over a connection that is kept while it answers.
async fn ask(sentinels: &Sentinels, at: &Address, kept: &mut Option<Link>) -> Result<Word, Silent> {
    let link = kept.take();
    let asked = async {
        let mut link = match link {
            Some(link) => link,
            None => Link::connect(at, &sentinels.login, ANSWERS_WITHIN).await?,
        };
        let ask = |what: &str| Command::new("SENTINEL").arg(what).arg(&sentinels.master);
        let replies = link.send(vec![ask("GET-MASTER-ADDR-BY-NAME"), ask("MASTER")]).await?;
        Ok((link, replies))
    };
    let (link, replies) = match timeout(ANSWERS_WITHIN, asked).await {
        Ok(answer) => answer.map_err(Silent::Broken)?,
        Err(_) => return Err(Silent::Broken(Broken::Away(format!("no answer within {ANSWERS_WITHIN:?}")))),
    };
    *kept = Some(link);
    read(replies)
}

/// What the two answers of a sentinel come to.
fn read(replies: Vec<Reply>) -> Result<Word, Silent> {
    let [named, about] = <[Reply; 2]>::try_from(replies).map_err(|_| unread("two answers were wanted"))?;
    let named = match named {
        Reply::Nil => return Err(Silent::Unknowing),
        Reply::Refused { text, .. } => return Err(Silent::Broken(Broken::Refused(text.into()))),
        other => other.many().ok().and_then(pair).ok_or_else(|| unread("an address that is none"))?,
    };
    let about = match about {
        Reply::Refused { text, .. } => return Err(Silent::Broken(Broken::Refused(text.into()))),
        other => other.many().map_err(|_| unread("an answer that is none"))?,
    };
    let texts: Vec<String> = about.into_iter().map(text).collect();
    let field = |name: &str| texts.chunks_exact(2).find(|pair| pair[0] == name).map_or("", |pair| &*pair[1]);
    // In the midst of a failover it names the next one already, and knows the flags of the last.
    let is_of_it = (field("ip"), field("port")) == (&*named.0, &*named.1.to_string());
    let has = |flag: &str| field("flags").split(',').any(|one| one == flag);
    let is_failing_over = has("failover_in_progress");
    let silent_for = field("last-ok-ping-reply").parse().map_or(Duration::MAX, Duration::from_millis);
    let is_down = has("s_down") || has("o_down") || has("disconnected") || has("master_down");
    let hears_it = !is_failing_over && !is_down && silent_for <= HEARD_WITHIN;
    let speaks_for_it = if is_of_it { hears_it } else { is_failing_over };
    Ok(Word { names: named, speaks_for_it, is_failing_over: is_of_it && is_failing_over })
}

fn pair(parts: Vec<Reply>) -> Option<(String, u16)> {
    let mut parts = parts.into_iter();
    let host = text(parts.next()?);
    let port = number(text(parts.next()?).as_bytes()).ok()?;
    Some((host, u16::try_from(port).ok().filter(|port| *port > 0)?)).filter(|(host, _)| !host.is_empty())
}

fn text(reply: Reply) -> String {
    reply.bytes().map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn unread(what: &str) -> Silent {
    Silent::Broken(Broken::Away(format!("a sentinel gives {what}")))
}

/// What their words come to, silence among them.
fn verdict(sentinels: &Sentinels, words: &[Result<Word, Silent>]) -> Verdict {
    let most = words.len() / 2 + 1;
    let said: Vec<&Word> = words.iter().flatten().collect();
    let named = said.iter().find(|word| said.iter().filter(|other| other.names == word.names).count() >= most);
    let Some(Word { names, .. }) = named else { return Verdict::Open(why_open(sentinels, words, most)) };
    let of_it = || said.iter().filter(|word| word.names == *names);
    let is_steady =
        of_it().filter(|word| word.speaks_for_it).count() >= most && !of_it().any(|word| word.is_failing_over);
    Verdict::Is { at: sentinels.reached(&names.0, names.1), is_steady }
}

fn why_open(sentinels: &Sentinels, words: &[Result<Word, Silent>], most: usize) -> Broken {
    let (all, master) = (words.len(), &sentinels.master);
    let silent = words.iter().filter_map(|word| word.as_ref().err());
    if silent.clone().filter(|silent| **silent == Silent::Unknowing).count() >= most {
        return Broken::Unnamed(format!("the sentinels know no primary called {master}"));
    }
    let faults = silent.filter_map(|silent| match silent {
        Silent::Broken(broken) => Some(broken),
        Silent::Unknowing => None,
    });
    let refused = faults.clone().find(|fault| !matches!(fault, Broken::Away(_)));
    match refused.or(faults.clone().next()) {
        Some(Broken::Unproven(why)) => Broken::Unproven(why.clone()),
        Some(Broken::Refused(why)) => Broken::Turned(format!("a sentinel refuses to be asked: {why}")),
        fault => {
            let answered = words.iter().filter(|word| word.is_ok()).count();
            let why = fault.map_or_else(|| "they name several".to_owned(), ToString::to_string);
            Broken::Away(format!("{most} of {all} sentinels have to name the same primary, {answered} name one: {why}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sentinels() -> Sentinels {
        let at = |port| Address::Tcp { host: "s".into(), port };
        let (at, master) = (vec![at(1), at(2), at(3)], "main".to_owned());
        Sentinels { at, master, login: Login::default(), elsewhere: BTreeMap::new() }
    }

    fn bytes(text: &str) -> Reply {
        Reply::Bytes(text.as_bytes().to_vec())
    }

    /// What one says that names this port, and of the node that it watches at the other.
    fn says(names: u16, watches: u16, flags: &str, heard: u64) -> Result<Word, Silent> {
        let named = Reply::Many(vec![bytes("h"), bytes(&names.to_string())]);
        let (port, heard) = (watches.to_string(), heard.to_string());
        let about = ["name", "main", "ip", "h", "port", &port, "flags", flags, "last-ok-ping-reply", &heard];
        read(vec![named, Reply::Many(about.into_iter().map(bytes).collect())])
    }

    fn well(port: u16) -> Result<Word, Silent> {
        says(port, port, "master", 100)
    }

    fn is(port: u16, is_steady: bool) -> Verdict {
        Verdict::Is { at: Address::Tcp { host: "h".into(), port }, is_steady }
    }

    fn gone() -> Result<Word, Silent> {
        Err(Silent::Broken(Broken::Away("refused".into())))
    }

    /// I1: two of three name it; and it is steady only where as many hear it, and none is about to take another.
    #[test]
    fn most_of_them_have_to_agree() {
        let told = |words: &[Result<Word, Silent>]| verdict(&sentinels(), words);
        assert_eq!(told(&[well(1), well(1), well(1)]), is(1, true));
        assert_eq!(told(&[well(1), gone(), well(1)]), is(1, true));
        assert_eq!(told(&[well(1), well(2), well(2)]), is(2, true), "one that was cut off is behind");
        assert_eq!(told(&[well(1), says(1, 1, "master,s_down", 4_000), gone()]), is(1, false));
        assert_eq!(told(&[well(1), says(1, 1, "master", 5_001), gone()]), is(1, false), "it hears nothing");
        let fails_over = says(1, 1, "master,failover_in_progress", 100);
        assert_eq!(told(&[well(1), well(1), fails_over]), is(1, false), "one of them is about to");
        let promoted = || says(2, 1, "master,s_down,o_down,failover_in_progress", 9_000);
        assert_eq!(told(&[promoted(), well(2), gone()]), is(2, true), "its flags are of the one before");
        for (words, wants) in [
            (vec![well(1), well(2), gone()], "2 of 3 sentinels have to name the same primary, 2 name one: refused"),
            (vec![well(1), well(2), well(3)], "3 name one: they name several"),
            (vec![gone(), gone(), gone()], "0 name one: refused"),
            (vec![Err(Silent::Unknowing), Err(Silent::Unknowing), gone()], "know no primary called main"),
        ] {
            let Verdict::Open(why) = told(&words) else { panic!("{words:?}") };
            assert!(why.to_string().contains(wants), "{why}");
        }
    }

    /// Hostile bytes: whatever a sentinel says, it names a node or nothing.
    #[test]
    fn what_is_no_word_of_a_sentinel_names_nobody() {
        let refused = || Reply::Refused { word: "NOAUTH".into(), text: "NOAUTH wanted".into() };
        let host = |port: &str| Reply::Many(vec![bytes("h"), bytes(port)]);
        for replies in [
            vec![],
            vec![host("1")],
            vec![host("0"), Reply::Nil],
            vec![host("65536"), Reply::Nil],
            vec![host("-1"), Reply::Nil],
            vec![Reply::Many(vec![bytes(""), bytes("1")]), Reply::Nil],
            vec![Reply::Number(1), Reply::Nil],
            vec![refused(), refused()],
            vec![host("1"), refused()],
        ] {
            assert!(matches!(read(replies.clone()), Err(Silent::Broken(_))), "{replies:?}");
        }
        assert_eq!(read(vec![Reply::Nil, refused()]), Err(Silent::Unknowing));
        let quiet = read(vec![host("1"), Reply::Nil]).expect("it names one");
        assert!(!quiet.speaks_for_it, "nothing says that it hears it");
    }
}
