//! Exchanges that begin with what every member has to say, so that what goes wrong on one is known on all.

use std::cell::Cell;

use crate::wire::{Reader, Writer};
use crate::{Communicator, Error, Result};

/// Members that agree before they exchange anything; counts the bytes that they send.
///
/// The bytes that count are those that this member has for the others, as if each went straight to its receiver: what
/// [`all_gather`](Self::all_gather) sends counts once for each other rank. What an engine adds of its own does not count.
#[derive(Debug)]
pub struct Group<'c> {
    communicator: &'c dyn Communicator,
    sent: Cell<u64>,
    /// Whether the others know that this member cannot go on.
    told: Cell<bool>,
}

/// What a member says as it comes to a meeting.
struct Said<'a> {
    place: &'a str,
    facts: Vec<(&'a str, &'a str)>,
    outcome: Result<&'a [u8], &'a str>,
}

impl<'c> Group<'c> {
    /// The members of a communicator.
    pub fn new(communicator: &'c dyn Communicator) -> Self {
        Group { communicator, sent: Cell::new(0), told: Cell::new(false) }
    }

    /// The number of this member, from 0.
    pub fn rank(&self) -> usize {
        self.communicator.rank()
    }

    /// The number of members.
    pub fn size(&self) -> usize {
        self.communicator.size()
    }

    /// The bytes that this member has sent to others so far.
    pub fn bytes_sent(&self) -> u64 {
        self.sent.get()
    }

    /// Meets the others: tells them where this member is, what must be the same on all (`facts`, name and value), and what it
    /// has for them, or why it cannot go on. Returns what each had, by rank.
    ///
    /// # Errors
    /// The same on all members, but for the one that has an error itself: [`Error::Rank`] with the first error of a member,
    /// [`Error::Differs`] when members are at different places or differ in a fact; those of
    /// [`Communicator::all_gather`].
    pub fn meet(
        &self,
        place: &str,
        facts: &[(String, String)],
        outcome: Result<&[u8], &str>,
    ) -> Result<Vec<Vec<u8>>> {
        self.told.set(self.told.get() || outcome.is_err());
        let all = self.all_gather(&said(place, facts, outcome))?;
        let heard: Result<Vec<Said<'_>>> = all.iter().map(|bytes| Said::read(bytes)).collect();
        let heard = heard?;
        for (rank, said) in heard.iter().enumerate() {
            if let Err(message) = said.outcome {
                return Err(Error::Rank { rank, message: message.to_owned() });
            }
        }
        heard.iter().enumerate().skip(1).try_for_each(|(rank, said)| heard[0].agrees(rank, said))?;
        Ok(heard.iter().map(|said| said.outcome.unwrap_or_default().to_vec()).collect())
    }

    /// Tells the others, at the next exchange that they begin, that this member cannot go on, unless it has told them.
    pub fn tell(&self, why: &str) {
        if !self.told.get() {
            // What the others say to it changes nothing here.
            let _ = self.meet("", &[], Err(why));
        }
    }

    /// As [`Communicator::all_gather`], counted.
    ///
    /// # Errors
    /// As there.
    pub fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.count(bytes.len() * (self.size() - 1));
        self.communicator.all_gather(bytes)
    }

    /// As [`Communicator::all_to_all`], counted.
    ///
    /// # Errors
    /// As there.
    pub fn all_to_all(&self, parts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        let others = parts.iter().enumerate().filter(|(rank, _)| *rank != self.rank());
        self.count(others.map(|(_, part)| part.len()).sum());
        self.communicator.all_to_all(parts)
    }

    fn count(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }
}

/// The message of a member.
fn said(place: &str, facts: &[(String, String)], outcome: Result<&[u8], &str>) -> Vec<u8> {
    let mut to = Writer::new();
    to.text(place);
    to.u64(facts.len() as u64);
    for (name, value) in facts {
        to.text(name);
        to.text(value);
    }
    to.u8(u8::from(outcome.is_err()));
    match outcome {
        Ok(bytes) => to.bytes(bytes),
        Err(message) => to.text(message),
    }
    to.into_bytes()
}

impl<'a> Said<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut from = Reader::new(bytes);
        let place = from.text()?;
        let facts = (0..from.u64()?).map(|_| Ok((from.text()?, from.text()?))).collect::<Result<_>>()?;
        let outcome = if from.u8()? == 0 { Ok(from.bytes()?) } else { Err(from.text()?) };
        Ok(Said { place, facts, outcome })
    }

    /// Whether another member, of this rank, is at the same place with the same facts.
    fn agrees(&self, rank: usize, other: &Said<'_>) -> Result<()> {
        if self.place != other.place {
            return Err(Error::differs("the place in the run", self.place, rank, other.place));
        }
        let facts = self.facts.iter().zip(&other.facts);
        match facts.clone().find(|(here, there)| here != there) {
            Some(((name, here), (other, there))) if name == other => {
                Err(Error::differs(*name, here, rank, there))
            }
            None if self.facts.len() == other.facts.len() => Ok(()),
            _ => Err(Error::differs("what is compared", self.names(), rank, other.names())),
        }
    }

    fn names(&self) -> String {
        self.facts.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}
