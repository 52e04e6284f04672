//! First: the first backend in the order of the file that has room. Fills one up before the next is used, so that those
//! at the end can be switched off when it is quiet.

use super::Choice;

/// The first member that is eligible.
pub(super) fn pick(choice: &Choice<'_>) -> Option<usize> {
    choice.members.iter().position(|member| choice.is_eligible(member))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use crate::balance::testing::Field;
    use crate::config::Algorithm;

    #[test]
    fn the_next_one_is_used_only_when_those_before_it_are_full() {
        let mut field = Field::new(&[1, 1, 1]);
        let two = NonZeroU32::new(2).unwrap();
        field.members.iter_mut().for_each(|member| member.limit = Some(two));
        let mut balancer = field.balancer(Algorithm::First);
        let mut inside = Vec::new();
        for expected in [0, 0, 1, 1, 2, 2] {
            let picked = field.pick(&mut balancer).unwrap();
            assert_eq!(picked, expected);
            inside.push((picked, Arc::clone(&field.members[picked].gate).enter(two).unwrap()));
        }
        assert_eq!(field.pick(&mut balancer), None);
        // A place in the first one is used before anything else.
        inside.remove(0);
        assert_eq!(field.pick(&mut balancer), Some(0));
    }
}
