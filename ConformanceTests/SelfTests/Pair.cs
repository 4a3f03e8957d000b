namespace ConformanceTests.SelfTests;

/// <summary>A connection of the suite, and the socket at its other end, which says what a self-test wants.</summary>
internal sealed class Pair : IDisposable
{
    private readonly Socket _listener = TranscriptPlayer.Listen();
    public readonly ProtocolConnection Wire;
    public readonly Socket Peer;

    public Pair(Side self, Delivery delivery = Delivery.Whole)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Connect(_listener.LocalEndPoint!);
        Wire = new ProtocolConnection(socket, self, delivery) { Patience = RunSettings.Milliseconds(400) };
        Peer = _listener.Accept();
    }

    public void Dispose()
    {
        Wire.Dispose();
        Peer.Dispose();
        _listener.Dispose();
    }
}
