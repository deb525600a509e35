// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.20;

// Contracts to stand between everybody and a verifier contract of EZKL 23.0.5.
//
// EZKL's verifiers hash the proof that the calldata's offset points at, and check the bytes at a
// fixed place. Whoever writes the calldata makes these two different, knows every challenge
// beforehand, and has any instances accepted. So a guard
//   (1) is the only one that calls the verifier, and writes that call itself with the ABI encoder;
//   (2) takes one encoding of its own arguments only, so that whoever reads its calldata at fixed
//       places reads what was verified;
//   (3) knows its verifier by address and code, and the verifying key by its digest: anybody may
//       register one with the reusable verifier;
//   (4) demands what a circuit leaves to whoever verifies: public inputs inside the accepted range,
//       residues of zero.
//
// Whoever calls a guard still has to compare the instances with what it expects: above all the
// context, or one proof counts twice.

interface IVerifier {
    function verifyProof(bytes calldata proof, uint256[] calldata instances)
        external
        view
        returns (bool);
}

interface IReusableVerifier {
    // It returns the key's digest and rescaled instances too. Nothing here needs these, and the
    // instances are not encoded as its ABI says.
    function verifyProof(bytes calldata proof, uint256[] calldata instances, bytes32[] calldata vka)
        external
        view
        returns (bool);
}

abstract contract Guard {
    // `count` instances in a row, each of low, low + 1, ... low + span; any field element where
    // `span` is ANY.
    struct Segment {
        uint32 count;
        int112 low;
        uint112 span;
    }

    error OtherVerifier();
    error NotCanonical();
    error WrongLength();
    error OtherVerifyingKey();
    error InstanceRefused(uint256 index);
    error ProofRefused();

    uint256 internal constant R =
        0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001;
    uint112 internal constant ANY = type(uint112).max;
    uint256 private constant WORD = 0x20;

    address public immutable verifier;
    bytes32 public immutable verifierCodehash;
    uint256 public immutable proofBytes;
    uint256 public immutable instanceCount;
    Segment[] public segments;

    // `codeSha256` is of the verifier's code as it lies on chain.
    constructor(address verifier_, bytes32 codeSha256, uint256 proofBytes_, Segment[] memory all) {
        if (sha256(verifier_.code) != codeSha256) revert OtherVerifier();
        if (proofBytes_ == 0 || proofBytes_ % WORD != 0) revert WrongLength();
        uint256 count;
        for (uint256 i; i < all.length; ++i) {
            count += all[i].count;
            segments.push(all[i]);
        }
        verifier = verifier_;
        verifierCodehash = verifier_.codehash;
        proofBytes = proofBytes_;
        instanceCount = count;
    }

    // That the calldata holds `head` words of offsets, then proof, instances and what is left
    // behind each other, without a gap and in this order.
    function _checkEncoding(
        uint256 head,
        bytes calldata proof,
        uint256[] calldata instances,
        uint256 left
    ) internal view {
        if (proof.length != proofBytes || instances.length != instanceCount) revert WrongLength();
        uint256 proofAt;
        uint256 instancesAt;
        assembly {
            proofAt := proof.offset
            instancesAt := instances.offset
        }
        uint256 end = instancesAt + instances.length * WORD + left;
        if (
            proofAt != 4 + (head + 1) * WORD || instancesAt != proofAt + proof.length + WORD
                || msg.data.length != end
        ) revert NotCanonical();
    }

    function _checkInstances(uint256[] calldata instances) internal view {
        uint256 at;
        uint256 parts = segments.length;
        for (uint256 i; i < parts; ++i) {
            Segment memory s = segments[i];
            int256 low = s.low;
            // What to add, mod R, so that `low` becomes zero.
            uint256 shift = low > 0 ? R - uint256(low) : uint256(-low);
            for (uint256 end = at + s.count; at < end; ++at) {
                uint256 value = instances[at];
                bool inside = s.span == ANY || addmod(value, shift, R) <= s.span;
                if (value >= R || !inside) revert InstanceRefused(at);
            }
        }
    }

    function _checkVerifier() internal view {
        if (verifier.codehash != verifierCodehash) revert OtherVerifier();
    }
}

// In front of the verifier of one circuit, whose code holds the verifying key.
contract VerifierGuard is Guard {
    constructor(address verifier_, bytes32 codeSha256, uint256 proofBytes_, Segment[] memory all)
        Guard(verifier_, codeSha256, proofBytes_, all)
    {}

    // True, or it reverts.
    function checkProof(bytes calldata proof, uint256[] calldata instances)
        external
        view
        returns (bool)
    {
        _checkEncoding(2, proof, instances, 0);
        _checkInstances(instances);
        _checkVerifier();
        try IVerifier(verifier).verifyProof(proof, instances) returns (bool accepted) {
            if (accepted) return true;
        } catch {}
        revert ProofRefused();
    }
}

// In front of the reusable verifier, for one circuit. The key is given with each call and known by
// the SHA-256 of its words.
contract ReusableVerifierGuard is Guard {
    bytes32 public immutable vkaSha256;

    constructor(
        address verifier_,
        bytes32 codeSha256,
        bytes32 vkaSha256_,
        uint256 proofBytes_,
        Segment[] memory all
    ) Guard(verifier_, codeSha256, proofBytes_, all) {
        vkaSha256 = vkaSha256_;
    }

    // True, or it reverts.
    function checkProof(bytes calldata proof, uint256[] calldata instances, bytes32[] calldata vka)
        external
        view
        returns (bool)
    {
        _checkEncoding(3, proof, instances, (vka.length + 1) * 0x20);
        uint256 vkaAt;
        uint256 instancesEnd;
        assembly {
            vkaAt := vka.offset
            instancesEnd := add(instances.offset, shl(5, instances.length))
        }
        if (vkaAt != instancesEnd + 0x20) revert NotCanonical();
        if (sha256(abi.encodePacked(vka)) != vkaSha256) revert OtherVerifyingKey();
        _checkInstances(instances);
        _checkVerifier();
        try IReusableVerifier(verifier).verifyProof(proof, instances, vka) returns (bool accepted) {
            if (accepted) return true;
        } catch {}
        revert ProofRefused();
    }
}
